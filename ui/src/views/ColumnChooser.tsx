import { useEffect, useState } from "preact/hooks";
import { quoted } from "../api/client";
import { plural } from "../parts/format";
import { FIELD_NAMES, FIGURES, loadKeys, parsed, type Keys } from "./columns";

interface Props {
  experiment: string | null;
  /** The keys of the newest runs, until those of all runs are here. */
  known: Keys;
  chosen: string[];
  onChange: (columns: string[]) => void;
  onReset: () => void;
}

/** Choose columns: each key with the number of runs that have it, and which figure of a metric is shown. */
export function ColumnChooser({ experiment, known, chosen, onChange, onReset }: Props) {
  const [text, setText] = useState("");
  const [keys, setKeys] = useState(known);
  useEffect(() => {
    loadKeys(experiment, null).then(setKeys, () => undefined);
  }, [experiment]);
  const wanted = text.toLowerCase();
  const groups = [
    { title: "Run", items: FIELD_NAMES.map((name) => ({ id: name, label: name, note: "" })) },
    {
      title: "Metrics",
      items: keys.metrics.map((key) => ({ id: `metrics.${quoted(key.key)}`, label: key.key, note: plural(key.runs, "run") })),
    },
    {
      title: "Parameters",
      items: keys.params.map((key) => ({ id: `params.${quoted(key.key)}`, label: key.key, note: plural(key.runs, "run") })),
    },
    {
      title: "Tags",
      items: keys.tags.map((key) => ({ id: `tags.${quoted(key.key)}`, label: key.key, note: plural(key.runs, "run") })),
    },
  ];

  const shownAs = (id: string) => chosen.find((one) => one === id || one.startsWith(`${id}.`));

  return (
    <div class="chooser">
      <div class="row">
        <input
          type="search"
          aria-label="find a column"
          placeholder="find a column"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          autofocus
        />
        <button type="button" onClick={onReset}>
          reset
        </button>
      </div>
      <div class="lists">
        {groups.map(({ title, items }) => {
          const found = items.filter((item) => item.label.toLowerCase().includes(wanted));
          if (!found.length) return null;
          return (
            <fieldset key={title}>
              <legend>
                {title} <span class="soft">{items.length}</span>
              </legend>
              {found.slice(0, 200).map((item) => {
                const id = shownAs(item.id);
                return (
                  <div class="choice" key={item.id}>
                    <label>
                      <input
                        type="checkbox"
                        checked={id !== undefined}
                        onChange={() => onChange(id === undefined ? [...chosen, item.id] : chosen.filter((one) => one !== id))}
                      />
                      <span>{item.label}</span>
                    </label>
                    {id !== undefined && title === "Metrics" && (
                      <select
                        aria-label={`figure of ${item.label}`}
                        value={parsed(id)?.figure ?? "last"}
                        onChange={(event) => {
                          const figure = event.currentTarget.value;
                          const next = figure === "last" ? item.id : `${item.id}.${figure}`;
                          onChange(chosen.map((one) => (one === id ? next : one)));
                        }}
                      >
                        {FIGURES.map((figure) => (
                          <option key={figure}>{figure}</option>
                        ))}
                      </select>
                    )}
                    <span class="soft">{item.note}</span>
                  </div>
                );
              })}
              {found.length > 200 && <p class="soft">and {found.length - 200} more: type to find them</p>}
            </fieldset>
          );
        })}
      </div>
    </div>
  );
}
