import { useEffect, useState } from "preact/hooks";
import { call, get, post, query, type Schemas } from "../api/client";
import { ago, bytes, moment, number, plural } from "../parts/format";
import { Link } from "../parts/Link";
import { copy, failed, toast } from "../parts/toast";
import { param, setParams } from "../state/url";
import { Rules } from "./settings/Rules";
import { Users } from "./settings/Users";
import { theme, type Theme } from "../state/theme";

type About = Schemas["About"];
const TABS: [string, string, string | null][] = [
  ["server", "Server", null],
  ["alerts", "Alerts", null],
  ["users", "Users", "admin"],
  ["tokens", "Tokens", "admin"],
  ["storage", "Storage", null],
  ["trash", "Trash", null],
  ["audit", "Changes", "admin"],
];

/** The server, tokens, storage, the trash, and who changed what. */
export function Settings() {
  const [about, setAbout] = useState<About | null>(null);
  useEffect(() => {
    get<About>("/api/server").then(setAbout, failed);
  }, []);
  if (!about) return null;
  const tabs = TABS.filter(([, , permission]) => permission === null || about.permissions.includes(permission));
  const tab = param("tab") || "server";
  return (
    <div class="page settings">
      <header class="top">
        <h1>Settings</h1>
        <span class="soft">
          {about.name}: {about.permissions.join(", ")}
        </span>
      </header>
      <nav class="tabs" aria-label="parts of the settings">
        {tabs.map(([id, label]) => (
          <button key={id} type="button" class={id === tab ? "here" : ""} aria-pressed={id === tab} onClick={() => setParams({ tab: id === "server" ? null : id })}>
            {label}
          </button>
        ))}
      </nav>
      <div class="tab">
        {tab === "server" && <Server about={about} />}
        {tab === "alerts" && <Rules mayWrite={about.permissions.includes("write")} />}
        {tab === "users" && <Users />}
        {tab === "tokens" && <Tokens />}
        {tab === "storage" && <Storage />}
        {tab === "trash" && <Trash />}
        {tab === "audit" && <Audit />}
      </div>
    </div>
  );
}

function Server({ about }: { about: About }) {
  const store = new URL(document.baseURI).href.replace(/\/$/, "");
  const rows: [string, string][] = [
    ["runbase", about.version],
    ["database", about.dialect],
    ["address", store],
    ...Object.entries(about.totals).map(([name, count]): [string, string] => [name, number(count)]),
  ];
  return (
    <>
      <h2>This server</h2>
      <table class="list pairs">
        <tbody>
          {rows.map(([label, text]) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              <td>{text}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <h2>Log to it</h2>
      <pre>{`export RUNBASE_STORE=${store}\npython train.py`}</pre>
      <h2>Colours</h2>
      <div class="row">
        {(["auto", "light", "dark"] as Theme[]).map((one) => (
          <button key={one} type="button" aria-pressed={theme.value === one} onClick={() => (theme.value = one)}>
            {{ auto: "as the system", light: "light", dark: "dark" }[one]}
          </button>
        ))}
      </div>
    </>
  );
}

function Tokens() {
  const [tokens, setTokens] = useState<Schemas["Token"][]>([]);
  const [made, setMade] = useState<string | null>(null);
  const load = () => {
    get<Schemas["Token"][]>("/api/tokens").then(setTokens, failed);
  };
  useEffect(load, []);
  return (
    <>
      <h2>New token</h2>
      <form
        class="row wrapped"
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          const days = Number(data.get("days"));
          const body = { name: data.get("name"), permissions: [data.get("permission")], days: days > 0 ? days : null };
          post<Schemas["MadeToken"]>("/api/tokens", body).then((found) => {
            setMade(found.token);
            load();
          }, failed);
        }}
      >
        <input name="name" required placeholder="for whom or what" aria-label="name of the token" />
        <select name="permission" aria-label="permission">
          <option value="write">write</option>
          <option value="log">log</option>
          <option value="read">read</option>
          <option value="admin">admin</option>
        </select>
        <label>
          expires after <input name="days" type="number" min="1" size={4} /> days
        </label>
        <button class="accent">make</button>
      </form>
      {made && (
        <p>
          <code>{made}</code>{" "}
          <button type="button" onClick={() => void copy(made, "Token")}>
            copy
          </button>{" "}
          <span class="soft">It is shown this once.</span>
        </p>
      )}
      <h2>
        Tokens <span class="soft">{tokens.length}</span>
      </h2>
      {tokens.length === 0 && <p class="soft">No token yet.</p>}
      <table class="list">
        <tbody>
          {tokens.map((one) => (
            <tr key={one.id}>
              <td>{one.revoked_at ? <s>{one.name}</s> : one.name}</td>
              <td>{one.permissions.join(", ")}</td>
              <td class="soft">{reach(one)}</td>
              <td class="soft">{one.used_at ? `used ${ago(one.used_at)}` : "never used"}</td>
              <td class="soft">{one.expires_at ? `until ${moment(one.expires_at)}` : ""}</td>
              <td>
                {!one.revoked_at && (
                  <button type="button" class="plain" onClick={() => call("DELETE", `/api/tokens/${encodeURIComponent(one.id)}`).then(load, failed)}>
                    revoke
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function Storage() {
  const [sizes, setSizes] = useState<Schemas["Sizes"] | null>(null);
  useEffect(() => {
    get<Schemas["Sizes"]>("/api/sizes").then(setSizes, failed);
  }, []);
  if (!sizes) return <p class="soft">counting …</p>;
  const part = (title: string, rows: [string, number, string?][]) => {
    const most = Math.max(...rows.map(([, size]) => size), 1);
    return (
      <section>
        <h2>{title}</h2>
        <table class="bars">
          <tbody>
            {rows.map(([name, size, to]) => (
              <tr key={name}>
                <th scope="row">{to ? <Link to={to}>{name}</Link> : name}</th>
                <td>
                  <i style={{ width: `${(size / most) * 100}%` }} />
                </td>
                <td class="number">{bytes(size)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    );
  };
  const total = (one: Schemas["Size"]) => one.database + one.archive + one.journals + one.artifacts;
  return (
    <div class="columns">
      {part("Experiments", sizes.experiments.map((one) => [one.name, total(one), `/e/${encodeURIComponent(one.name)}`]))}
      {part("Largest runs", sizes.runs.map((one) => [one.name, total(one), `/run/${one.id}`]))}
      {part("Tables of the database", Object.entries(sizes.tables).map(([name, size]) => [name, size]))}
    </div>
  );
}

function Trash() {
  const [runs, setRuns] = useState<Schemas["Run"][] | null>(null);
  const load = () => {
    get<Schemas["RunPage"]>(`/api/runs${query({ deleted: true, limit: 500 })}`).then((page) => setRuns(page.runs), failed);
  };
  useEffect(load, []);
  if (!runs) return null;
  return (
    <>
      <h2>
        Trash <span class="soft">{runs.length}</span>
      </h2>
      {runs.length === 0 && <p class="soft">The trash is empty.</p>}
      <table class="list">
        <tbody>
          {runs.map((one) => (
            <tr key={one.id}>
              <td>{one.name}</td>
              <td class="soft">{one.experiment}</td>
              <td class="soft">{one.deleted_at ? `deleted ${ago(one.deleted_at)}` : ""}</td>
              <td>
                <button
                  type="button"
                  onClick={() =>
                    post(`/api/runs/${one.id}/restore`, {}).then(() => {
                      toast(`${one.name} is back`);
                      load();
                    }, failed)
                  }
                >
                  restore
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="soft">
        <code>runbase gc</code> deletes for ever what has been here for a while.
      </p>
    </>
  );
}

function Audit() {
  const [rows, setRows] = useState<Schemas["Audited"][] | null>(null);
  useEffect(() => {
    get<Schemas["Audited"][]>("/api/audit").then(setRows, failed);
  }, []);
  return (
    <>
      <h2>Requests that changed something</h2>
      {rows?.length === 0 && <p class="soft">No request has changed anything yet.</p>}
      <table class="list">
        <tbody>
          {(rows ?? []).map((one, place) => (
            <tr key={place}>
              <td class="soft">{moment(one.time)}</td>
              <td>{one.who}</td>
              <td>
                <code>{one.action}</code>
              </td>
              <td class="number">{one.status}</td>
              <td class="soft">{one.address}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

/** What a token is for. */
function reach(token: Schemas["Token"]): string {
  if (token.only) return `${plural(token.only.runs?.length ?? 0, "run")} and ${plural(token.only.documents?.length ?? 0, "document")} only`;
  return token.experiments ? plural(token.experiments.length, "experiment") : "all experiments";
}
