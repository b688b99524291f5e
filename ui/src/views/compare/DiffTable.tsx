import { useState } from "preact/hooks";
import { duration, moment, number, value } from "../../parts/format";
import type { RunRecord } from "../../api/types";

interface Row {
  family: string;
  key: string;
  values: unknown[];
  differs: boolean;
}

const FIGURES = ["last", "min", "max", "mean"] as const;
type Figure = (typeof FIGURES)[number];

function rowsOf(runs: RunRecord[], figure: Figure): Row[] {
  const rows: Row[] = [];
  const add = (family: string, key: string, values: unknown[]) => {
    const texts = values.map((one) => JSON.stringify(one ?? null));
    rows.push({ family, key, values, differs: new Set(texts).size > 1 });
  };
  const keys = (pick: (run: RunRecord) => object) => [...new Set(runs.flatMap((run) => Object.keys(pick(run))))];
  for (const key of keys((run) => run.params)) add("parameters", key, runs.map((run) => run.params[key]));
  for (const key of keys((run) => run.metrics)) add("metrics", key, runs.map((run) => run.metrics[key]?.[figure]));
  for (const key of keys((run) => run.tags)) add("tags", key, runs.map((run) => (key in run.tags ? (run.tags[key] || "✓") : undefined)));
  add("run", "state", runs.map((run) => run.status));
  add("run", "started", runs.map((run) => (run.started_at ? moment(run.started_at) : undefined)));
  add("run", "took", runs.map((run) => took(run)));
  add("run", "machine", runs.map((run) => run.host));
  add("run", "commit", runs.map((run) => String((run.git as Record<string, unknown>).commit ?? "").slice(0, 10) || undefined));
  add("run", "notes", runs.map((run) => run.notes || undefined));
  return rows;
}

function took(run: RunRecord): string | undefined {
  if (!run.started_at) return undefined;
  const end = run.ended_at ? new Date(run.ended_at).getTime() : Date.now();
  return duration((end - new Date(run.started_at).getTime()) / 1000);
}

/** Parameters, metrics and tags of runs side by side; what differs comes first. */
export function DiffTable({ runs }: { runs: RunRecord[] }) {
  const [only, setOnly] = useState(runs.length > 1);
  const [figure, setFigure] = useState<Figure>("last");
  const rows = rowsOf(runs, figure);
  const shown = rows.filter((row) => !only || row.differs);
  const families = ["metrics", "parameters", "tags", "run"];
  return (
    <>
      <div class="bar">
        <label>
          <input type="checkbox" checked={only} onChange={() => setOnly(!only)} /> only differences
        </label>
        <label>
          metrics{" "}
          <select value={figure} onChange={(event) => setFigure(event.currentTarget.value as Figure)}>
            {FIGURES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
        <span class="soft push">
          {rows.filter((row) => row.differs).length} of {rows.length} differ
        </span>
      </div>
      <div class="scroll">
        <table class="list diff-table">
          <thead>
            <tr>
              <th />
              {runs.map((run, place) => (
                <th key={run.id} class="number">
                  {run.name}
                  {place === 0 && runs.length > 1 ? <div class="soft">baseline</div> : null}
                </th>
              ))}
            </tr>
          </thead>
          {families.map((family) => {
            const own = shown.filter((row) => row.family === family).sort((a, b) => Number(b.differs) - Number(a.differs));
            if (!own.length) return null;
            return (
              <tbody key={family}>
                <tr>
                  <th colSpan={runs.length + 1} class="family">
                    {family}
                  </th>
                </tr>
                {own.map((row) => (
                  <tr key={row.key} class={row.differs ? "differs" : ""}>
                    <th scope="row">{row.key}</th>
                    {row.values.map((one, place) => (
                      <td key={place} class="number">
                        <Cell value={one} base={row.values[0]} first={place === 0} />
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            );
          })}
        </table>
      </div>
    </>
  );
}

/** A value, and how far it is from that of the baseline. */
function Cell({ value: one, base, first }: { value: unknown; base: unknown; first: boolean }) {
  if (one === undefined || one === null) return <span class="soft">–</span>;
  if (first || typeof one !== "number") {
    const same = !first && JSON.stringify(one) === JSON.stringify(base);
    return <span class={same ? "soft" : ""}>{value(one)}</span>;
  }
  if (typeof base !== "number") return <span>{number(one)}</span>;
  if (one === base) return <span class="soft">=</span>;
  const change = base === 0 ? null : ((one - base) / Math.abs(base)) * 100;
  return (
    <span>
      {number(one)}{" "}
      <span class="soft change">
        {one > base ? "▲" : "▼"}
        {change === null ? "" : ` ${change > 0 ? "+" : "−"}${Math.abs(change) < 10 ? Math.abs(change).toFixed(1) : Math.round(Math.abs(change))} %`}
      </span>
    </span>
  );
}
