import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { get, literal, query, type Schemas } from "../api/client";
import { go } from "../state/url";
import { plural } from "./format";
import { theme } from "../state/theme";

export const paletteOpen = signal(false);

interface Entry {
  label: string;
  note: string;
  run: () => void;
}

const VIEWS: [string, string][] = [
  ["Home", "/"],
  ["All runs", "/runs"],
  ["Compare", "/compare"],
  ["Trials", "/trials"],
  ["Artifacts", "/artifacts"],
  ["SQL", "/sql"],
  ["Reports", "/reports"],
  ["Settings", "/settings"],
];

async function search(text: string): Promise<Entry[]> {
  const wanted = text.trim().toLowerCase();
  const entries: Entry[] = VIEWS.filter(([label]) => label.toLowerCase().includes(wanted)).map(([label, to]) => ({
    label,
    note: "view",
    run: () => go(to),
  }));
  if ("colours light dark".includes(wanted) && wanted) {
    entries.push({ label: "Colours: light", note: "action", run: () => (theme.value = "light") });
    entries.push({ label: "Colours: dark", note: "action", run: () => (theme.value = "dark") });
  }
  const like = literal(`%${text.trim().replaceAll("%", "")}%`);
  const [experiments, runs] = await Promise.all([
    get<Schemas["ExperimentPage"]>(`/api/experiments${query({ where: wanted ? `name ilike ${like}` : null, limit: 8 })}`),
    wanted
      ? get<Schemas["RunPage"]>(
          `/api/runs${query({ where: `name ilike ${like} or id like ${literal(`${text.trim()}%`)}`, limit: 8 })}`,
        )
      : Promise.resolve({ runs: [] as Schemas["Run"][] }),
  ]);
  for (const one of experiments.experiments) {
    entries.push({ label: one.name, note: "experiment", run: () => go(`/e/${encodeURIComponent(one.name)}`) });
  }
  for (const one of runs.runs) {
    entries.push({ label: one.name, note: `run of ${one.experiment}, ${one.status.toLowerCase()}`, run: () => go(`/run/${one.id}`) });
  }
  if (wanted) {
    const metrics = await get<Schemas["KnownKey"][]>(`/api/keys${query({ kind: "metric", text: text.trim(), limit: 5 })}`);
    for (const one of metrics) {
      entries.push({
        label: one.key,
        note: `metric of ${plural(one.runs, "run")}`,
        run: () => go(`/runs${query({ q: `metrics."${one.key.replaceAll('"', '""')}" is not null` })}`),
      });
    }
  }
  return entries;
}

/** Go anywhere by typing: views, experiments, runs by name or id, metrics. */
export function Palette() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [entries, setEntries] = useState<Entry[]>([]);
  const [place, setPlace] = useState(0);
  const open = paletteOpen.value;

  useLayoutEffect(() => {
    if (open) {
      dialog.current?.showModal();
      setText("");
    } else dialog.current?.close();
  }, [open]);
  useEffect(() => {
    if (!open) return;
    let current = true;
    const timer = setTimeout(() => {
      search(text).then(
        (found) => {
          if (!current) return;
          setEntries(found);
          setPlace(0);
        },
        () => undefined,
      );
    }, 60);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text, open]);

  function take(entry: Entry | undefined): void {
    paletteOpen.value = false;
    entry?.run();
  }

  return (
    <dialog ref={dialog} class="palette" aria-label="go to" onClose={() => (paletteOpen.value = false)}>
      {open && (
        <>
          <input
            type="text"
            aria-label="go to"
            placeholder="run, experiment, metric, view …"
            value={text}
            autofocus
            role="combobox"
            aria-expanded="true"
            aria-controls="palette-list"
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                event.preventDefault();
                const step = event.key === "ArrowDown" ? 1 : entries.length - 1;
                setPlace((place + step) % Math.max(entries.length, 1));
              } else if (event.key === "Enter") {
                event.preventDefault();
                take(entries[place]);
              }
            }}
          />
          <ul id="palette-list" role="listbox" aria-label="results">
            {entries.map((entry, index) => (
              <li key={`${entry.note}/${entry.label}`} role="option" aria-selected={index === place} onClick={() => take(entry)}>
                <span>{entry.label}</span> <span class="soft">{entry.note}</span>
              </li>
            ))}
            {!entries.length && <li class="soft" role="option" aria-selected="false">nothing found</li>}
          </ul>
        </>
      )}
    </dialog>
  );
}
