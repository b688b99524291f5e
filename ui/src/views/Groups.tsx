import type { Signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { literal, post, type Schemas } from "../api/client";
import { colourOf } from "../charts/palette";
import { asNumber, number, value } from "../parts/format";
import { failed } from "../parts/toast";
import { isDark } from "../state/theme";
import { setParams } from "../state/url";
import { parsed } from "./columns";

type Answer = Schemas["TableAnswer"];

export interface Grouping {
  /** The table of groups. */
  answer: Answer;
  /** Id of a run → label of its group. */
  groupOf: Map<string, string>;
}

interface Props {
  where: string;
  experiment: string | null;
  by: string[];
  columns: string[];
  /** Grows when runs changed. */
  tick: number;
  onGroups: (groupOf: Map<string, string>) => void;
  hovered: Signal<string | null>;
}

const MOST_RUNS = 500;

export function labelOf(by: string[], values: unknown[]): string {
  return by.map((name, place) => `${parsed(name)?.key ?? name} ${values[place] === null || values[place] === undefined ? "–" : value(values[place])}`).join(", ");
}

/** Groups of runs with mean, standard deviation and number for each column. A click shows the runs of a group. */
export function Groups({ where, experiment, by, columns, tick, onGroups, hovered }: Props) {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [sort, setSort] = useState<{ name: string; descending: boolean } | null>(null);
  const shown = columns.filter((name) => parsed(name)?.family === "metrics" || name === "seconds" || (parsed(name)?.family === "params" && !by.includes(name)));
  useEffect(() => {
    const body = { where: where || null, experiment };
    post<Answer>("/api/table", { ...body, group_by: by, columns: shown, limit: 1000 }).then(
      (found) => {
        setAnswer(found);
        setProblem(null);
      },
      (error: Error) => setProblem(error.message),
    );
    post<Answer>("/api/table", { ...body, columns: by, limit: MOST_RUNS }).then((found) => {
      onGroups(new Map(found.ids.map((id, row) => [id, labelOf(by, by.map((name) => found.columns[name]?.[row]))])));
    }, failed);
  }, [where, experiment, by.join(), shown.join(), tick]);
  if (problem) return <pre class="problem">{problem}</pre>;
  if (!answer) return null;
  const count = (answer.columns.count ?? []).map(Number);
  const means = shown.filter((name) => (answer.columns[`mean(${name})`] ?? []).some((one) => one !== null));
  const order = count.map((_, row) => row);
  if (sort) {
    const column = sort.name === "count" ? count : sort.name in answer.columns ? answer.columns[sort.name]! : answer.columns[`mean(${sort.name})`]!;
    order.sort((a, b) => {
      const [x, y] = [column[a], column[b]];
      if (x === null) return 1;
      if (y === null) return -1;
      const less = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return sort.descending ? -less : less;
    });
  }
  const dark = isDark();
  const head = (name: string, label: string, numeric = true) => (
    <th key={name} class={numeric ? "number" : ""} aria-sort={sort?.name === name ? (sort.descending ? "descending" : "ascending") : "none"}>
      <button type="button" class="plain" onClick={() => setSort(sort?.name !== name ? { name, descending: false } : sort.descending ? null : { name, descending: true })}>
        {label}
        {sort?.name === name ? (sort.descending ? " ↓" : " ↑") : ""}
      </button>
    </th>
  );
  return (
    <div class="scroll groups">
      <table class="list">
        <thead>
          <tr>
            {by.map((name) => head(name, parsed(name)?.key ?? name, false))}
            {head("count", "runs")}
            {means.map((name) => head(name, parsed(name)?.key ?? name))}
          </tr>
        </thead>
        <tbody>
          {order.map((row) => {
            const values = by.map((name) => answer.columns[name]?.[row]);
            const label = labelOf(by, values);
            return (
              <tr
                key={label}
                class={hovered.value === label ? "marked" : ""}
                onPointerEnter={() => (hovered.value = label)}
                onPointerLeave={() => (hovered.value = null)}
              >
                {by.map((name, place) => (
                  <td key={name}>
                    {place === 0 && <i class="swatch" style={{ background: colourOf(label, dark) }} />}
                    {place === 0 ? (
                      <button type="button" class="plain link" title="the runs of this group" onClick={() => setParams({ q: narrowed(where, by, values), group: null })}>
                        {values[place] === null || values[place] === undefined ? "–" : value(values[place])}
                      </button>
                    ) : (
                      value(values[place]) || "–"
                    )}
                  </td>
                ))}
                <td class="number">{number(count[row]!)}</td>
                {means.map((name) => {
                  const mean = asNumber(answer.columns[`mean(${name})`]?.[row]);
                  const deviation = asNumber(answer.columns[`sd(${name})`]?.[row]);
                  const n = Number(answer.columns[`count(${name})`]?.[row] ?? 0);
                  return (
                    <td key={name} class="number" title={`of ${n} runs`}>
                      {mean === null ? "–" : number(mean)}
                      {deviation !== null && n > 1 && <span class="soft"> ± {number(Number(deviation.toPrecision(2)))}</span>}
                    </td>
                  );
                })}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

/** A filter for the runs of one group. */
function narrowed(where: string, by: string[], values: unknown[]): string {
  const conditions = by.map((name, place) => {
    const one = values[place];
    if (one === null || one === undefined) return `${name} is null`;
    return typeof one === "number" ? `${name} = ${one}` : typeof one === "boolean" ? (one ? name : `not ${name}`) : `${name} = ${literal(String(one))}`;
  });
  return [...(where ? [/\bor\b/i.test(where) ? `(${where})` : where] : []), ...conditions].join(" and ");
}
