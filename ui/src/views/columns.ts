/** The columns of a table of runs: which there are, which are shown at first, and how their cells look. */
import { get, query, quoted, type Schemas } from "../api/client";
import type { Cell, Column } from "../grid/Grid";
import { ago, asNumber, duration, number, value } from "../parts/format";
import { look } from "../parts/status";

export type KnownKey = Schemas["KnownKey"];

export interface Keys {
  params: KnownKey[];
  metrics: KnownKey[];
  tags: KnownKey[];
}

/** Runs that are looked at to find which columns there are; all of them only when somebody chooses columns. */
export const NEWEST = 300;

export async function loadKeys(experiment: string | null, newest: number | null = NEWEST): Promise<Keys> {
  const ask = (kind: string) => get<KnownKey[]>(`/api/keys${query({ kind, experiment, limit: 1000, newest })}`);
  const [params, metrics, tags] = await Promise.all([ask("param"), ask("metric"), ask("tag")]);
  return { params, metrics, tags };
}

export const FIGURES = ["last", "min", "max", "mean", "first", "count", "nans"];
const FIELDS: Record<string, [label: string, width: number]> = {
  name: ["run", 168],
  status: ["state", 112],
  created_at: ["created", 92],
  started_at: ["started", 92],
  ended_at: ["ended", 92],
  seconds: ["took", 84],
  experiment: ["experiment", 110],
  number: ["#", 52],
  user: ["user", 80],
  host: ["host", 100],
  notes: ["notes", 160],
  exit_code: ["exit code", 70],
  "git.branch": ["branch", 90],
  "error.type": ["error", 120],
};
export const FIELD_NAMES = Object.keys(FIELDS);
const TIMES = new Set(["created_at", "started_at", "ended_at", "seen_at"]);
const GOOD = /(^|\/)(val|valid|validation|eval|test|dev)([/_]|$)/i;
const KNOWN = /loss|acc|error|f1|auc|score|reward|latency|throughput|perplexity|rmse|mae/i;

/** The metrics that tell most: objectives, then those of validation, then losses and accuracies, then by runs. */
export function headline(metrics: KnownKey[], objectives: string[], count: number): KnownKey[] {
  const weight = (key: KnownKey) =>
    (objectives.includes(key.key) ? 8 : 0) + (GOOD.test(key.key) ? 4 : 0) + (KNOWN.test(key.key) ? 2 : 0);
  return metrics
    .filter((key) => !/^(system|sys)\//.test(key.key))
    .map((key, place) => ({ key, place }))
    .sort((a, b) => weight(b.key) - weight(a.key) || b.key.runs - a.key.runs || a.place - b.place)
    .slice(0, count)
    .map(({ key }) => key);
}

/** The columns of a table that nobody has changed: what differs, and what is aimed at. */
export function defaultColumns(keys: Keys, objectives: string[], experiment: string | null): string[] {
  const differing = keys.params.filter((key) => key.type === "text" || key.type === "str" || key.least !== key.greatest);
  const metrics = headline(keys.metrics, objectives, 4).map((key) => `metrics.${quoted(key.key)}`);
  return [
    "name",
    "status",
    ...(experiment ? [] : ["experiment"]),
    ...metrics.slice(0, 2),
    ...differing.slice(0, 6).map((key) => `params.${quoted(key.key)}`),
    ...metrics.slice(2),
    "created_at",
    "seconds",
  ];
}

const KEY = /^(params|metrics|tags)\.("(?:[^"]|"")*"|[^."]+)(?:\.(\w+))?$/;

export function parsed(id: string): { family: string; key: string; figure: string | null } | null {
  const found = KEY.exec(id);
  if (!found) return null;
  const key = found[2]!.startsWith('"') ? found[2]!.slice(1, -1).replaceAll('""', '"') : found[2]!;
  return { family: found[1]!, key, figure: found[3] ?? null };
}

export function asColumn(id: string, widths: Record<string, number>, best: Set<string>): Column {
  const field = FIELDS[id];
  if (field) {
    return { id, label: field[0], width: widths[id] ?? field[1], numeric: id === "number" || id === "seconds" };
  }
  const key = parsed(id);
  if (!key) return { id, label: id, width: widths[id] ?? 110 };
  const figure = key.figure && key.figure !== "last" ? ` ${key.figure}` : "";
  const label = key.key + figure + (best.has(key.key) ? " ★" : "");
  const width = widths[id] ?? Math.min(Math.max(label.length * 7 + 26, 76), 170);
  return { id, label, width, numeric: key.family !== "tags", title: `${id}` };
}

export function asCell(id: string, any: unknown, alive: unknown): Cell {
  if (id === "status") {
    const { word, mark, colour } = look(any, alive);
    return { text: `${mark} ${word}`, colour };
  }
  if (any === null || any === undefined) return { text: "–", colour: "--faint" };
  if (TIMES.has(id)) return { text: ago(any as string) };
  if (id === "seconds") return { text: duration(Number(any)) };
  const key = parsed(id);
  if (key && key.family !== "tags") {
    const found = asNumber(any);
    if (found !== null) return { text: number(found), ...(Number.isFinite(found) ? {} : { colour: "--bad" }) };
  }
  if (key?.family === "tags" && any === "") return { text: "✓" };
  return { text: value(any) };
}
