import type { ComponentType } from "preact";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { reachable, signInNeeded } from "./api/client";
import { connection } from "./api/live";
import { Icon, type IconName } from "./parts/icons";
import { Link } from "./parts/Link";
import { Palette, paletteOpen } from "./parts/Palette";
import { KeysHelp, keysOpen } from "./parts/KeysHelp";
import { SignIn } from "./parts/SignIn";
import { Toasts } from "./parts/toast";
import { theme, type Theme } from "./state/theme";
import { go, params, path } from "./state/url";
import { Runs } from "./views/Runs";

const RAIL: { to: string; icon: IconName; label: string; key: string; at: RegExp }[] = [
  { to: "/", icon: "home", label: "Home", key: "h", at: /^\/$/ },
  { to: "/runs", icon: "runs", label: "Runs", key: "r", at: /^\/(runs|e\/|run\/)/ },
  { to: "/compare", icon: "compare", label: "Compare", key: "c", at: /^\/compare/ },
  { to: "/trials", icon: "trials", label: "Trials", key: "t", at: /trials$/ },
  { to: "/artifacts", icon: "artifacts", label: "Artifacts", key: "a", at: /^\/(artifacts|lineage)/ },
  { to: "/sql", icon: "sql", label: "SQL", key: "s", at: /^\/sql/ },
  { to: "/reports", icon: "reports", label: "Reports", key: "p", at: /^\/report/ },
  { to: "/settings", icon: "settings", label: "Settings", key: ",", at: /^\/settings/ },
];

type View = ComponentType<Record<string, string>>;
const lazy = {
  Home: () => import("./views/Home").then((found) => found.Home),
  Run: () => import("./views/Run").then((found) => found.Run),
  Compare: () => import("./views/Compare").then((found) => found.Compare),
  Trials: () => import("./views/Trials").then((found) => found.Trials),
  Artifacts: () => import("./views/Artifacts").then((found) => found.Artifacts),
  Lineage: () => import("./views/Lineage").then((found) => found.Lineage),
  Sql: () => import("./views/Sql").then((found) => found.Sql),
  Reports: () => import("./views/Reports").then((found) => found.Reports),
  Report: () => import("./views/Report").then((found) => found.Report),
  Settings: () => import("./views/Settings").then((found) => found.Settings),
};
const ROUTES: [RegExp, keyof typeof lazy][] = [
  [/^\/$/, "Home"],
  [/^\/run\/(?<run>[^/]+)(?:\/(?<tab>\w+))?$/, "Run"],
  [/^\/compare$/, "Compare"],
  [/^\/e\/(?<experiment>[^/]+)\/trials$/, "Trials"],
  [/^\/trials$/, "Trials"],
  [/^\/artifacts$/, "Artifacts"],
  [/^\/lineage\/(?<run>[^/]+)$/, "Lineage"],
  [/^\/sql$/, "Sql"],
  [/^\/reports$/, "Reports"],
  [/^\/report\/(?<report>[^/]+)$/, "Report"],
  [/^\/settings$/, "Settings"],
];

const loaded = new Map<string, View>();

function Lazy({ name, groups }: { name: keyof typeof lazy; groups: Record<string, string> }) {
  const [, redraw] = useState(0);
  const [broken, setBroken] = useState(false);
  const View = loaded.get(name);
  useEffect(() => {
    if (View) return;
    lazy[name]().then(
      (found) => {
        loaded.set(name, found as unknown as View);
        redraw((old) => old + 1);
      },
      () => setBroken(true),
    );
  }, [name]);
  if (broken) return <p class="nothing">This part of the page could not be loaded. Is the server away?</p>;
  return View ? <View key={name} {...groups} /> : null;
}

function Content() {
  const here = path.value;
  const experiment = /^\/e\/([^/]+)$/.exec(here);
  if (here === "/runs" || experiment) {
    const id = experiment ? decodeURIComponent(experiment[1]!) : null;
    return <Runs key={id ?? ""} experiment={id} />;
  }
  for (const [pattern, name] of ROUTES) {
    const found = pattern.exec(here);
    if (!found) continue;
    const groups: Record<string, string> = {};
    for (const [key, value] of Object.entries(found.groups ?? {})) {
      if (value !== undefined) groups[key] = decodeURIComponent(value);
    }
    return <Lazy name={name} groups={groups} />;
  }
  return (
    <div class="nothing">
      <h2>There is no such page</h2>
      <Link to="/">Home</Link>
    </div>
  );
}

/** Keys that work everywhere, unless one types into a field. */
function useKeys(): void {
  // Not after the first paint: a key may be pressed before.
  useLayoutEffect(() => {
    let waiting = false;
    const press = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        paletteOpen.value = !paletteOpen.value;
        return;
      }
      const target = event.target as HTMLElement;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable) return;
      if (event.metaKey || event.ctrlKey || event.altKey) return;
      if (waiting) {
        waiting = false;
        const found = RAIL.find((one) => one.key === event.key);
        if (found) {
          event.preventDefault();
          go(found.to);
        }
        return;
      }
      if (event.key === "g") {
        waiting = true;
        setTimeout(() => (waiting = false), 1200);
      } else if (event.key === "/") {
        const field = document.querySelector<HTMLInputElement>("#filter");
        if (field) {
          event.preventDefault();
          field.focus();
          field.select();
        }
      } else if (event.key === "?") keysOpen.value = true;
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, []);
}

const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const LIVE = { open: "live", waiting: "connecting", paused: "paused", idle: "nothing here changes by itself" };

export function App() {
  useKeys();
  const here = path.value;
  // In a notebook, the view alone: sessionStorage keeps this while one follows links.
  if (params.value.has("embed")) sessionStorage.setItem("embed", "1");
  const embedded = window.parent !== window && sessionStorage.getItem("embed") === "1";
  return (
    <div class={embedded ? "app embedded" : "app"}>
      <a class="skip" href="#main">
        skip to the content
      </a>
      <nav class="rail" aria-label="views">
        {RAIL.map(({ to, icon, label, key, at }) => (
          <Link
            key={to}
            to={to}
            class={at.test(here) && !(to === "/runs" && here.endsWith("/trials")) ? "here" : ""}
            aria-current={at.test(here) ? "page" : undefined}
            title={`${label}  (g ${key})`}
          >
            <Icon name={icon} />
            <span class="word">{label}</span>
          </Link>
        ))}
        <span class="fill" />
        <button type="button" class="plain" title={`colours: ${theme.value}`} aria-label={`colours: ${theme.value}`} onClick={() => (theme.value = NEXT[theme.value])}>
          <Icon name={theme.value} />
        </button>
        <span class={`live ${connection.value}`} title={LIVE[connection.value]} role="img" aria-label={`connection: ${LIVE[connection.value]}`} />
      </nav>
      <main id="main" tabIndex={-1}>
        {!reachable.value && (
          <div class="away" role="alert">
            The server does not answer. What you see is the last state; the page tries again by itself.
          </div>
        )}
        <Content />
      </main>
      <Palette />
      <KeysHelp />
      {signInNeeded.value && <SignIn />}
      <Toasts />
    </div>
  );
}
