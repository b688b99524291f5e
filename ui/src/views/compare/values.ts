/** Parameters and metrics of runs as axes of plots. */
import { post, quoted, type Schemas } from "../../api/client";
import { asNumber } from "../../parts/format";
import { headline, loadKeys } from "../columns";
import type { RunRecord } from "../../api/types";

export interface Plotted {
  ids: string[];
  names: string[];
  /** Label → one value a run. */
  values: Record<string, unknown[]>;
}

/** The parameters that differ, and the metrics, of runs that are at hand. */
export function ofRuns(runs: RunRecord[]): Plotted {
  const values: Record<string, unknown[]> = {};
  const params = [...new Set(runs.flatMap((run) => Object.keys(run.params)))];
  for (const key of params) {
    const column = runs.map((run) => run.params[key] ?? null);
    if (new Set(column.map((one) => JSON.stringify(one))).size > 1) values[key] = column;
  }
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  for (const key of metrics) {
    const column = runs.map((run) => run.metrics[key]?.last ?? null);
    if (new Set(column).size > 1) values[key in values ? `${key} (metric)` : key] = column;
  }
  return { ids: runs.map((run) => run.id), names: runs.map((run) => run.name), values };
}

/** The same of up to 10,000 runs of an experiment. */
export async function ofExperiment(experiment: string, where: string | null): Promise<Plotted> {
  const keys = await loadKeys(experiment, 1000);
  const params = keys.params.filter((key) => key.least !== key.greatest || key.least === null).slice(0, 20);
  const metrics = keys.metrics.slice(0, 20);
  const columns = ["name", ...params.map((key) => `params.${quoted(key.key)}`), ...metrics.map((key) => `metrics.${quoted(key.key)}`)];
  const table = await post<Schemas["TableAnswer"]>("/api/table", { experiment, where, columns, limit: 10_000 });
  const values: Record<string, unknown[]> = {};
  for (const key of params) values[key.key] = table.columns[`params.${quoted(key.key)}`] ?? [];
  for (const key of metrics) values[key.key in values ? `${key.key} (metric)` : key.key] = table.columns[`metrics.${quoted(key.key)}`] ?? [];
  return { ids: table.ids, names: (table.columns.name ?? []).map(String), values };
}

/** The axes that tell most: up to six parameters, then up to two metrics, the most important one last. */
export function mostTelling(plotted: Plotted, metrics: Set<string>): string[] {
  const labels = Object.keys(plotted.values);
  const isMetric = (label: string) => metrics.has(label.replace(/ \(metric\)$/, ""));
  const known = labels.filter(isMetric).map((key) => ({ key, runs: 1, type: "float", least: null, greatest: null }));
  return [...labels.filter((label) => !isMetric(label)).slice(0, 6), ...headline(known, [], 2).map((one) => one.key).reverse()];
}

export interface Dimension {
  label: string;
  /** Of categories: their names, in order. */
  categories: string[] | null;
  numbers: (number | null)[];
  low: number;
  high: number;
  log: boolean;
}

/** How a column becomes an axis: numbers, on a logarithmic axis if they span decades, or categories. */
export function dimension(label: string, column: unknown[]): Dimension {
  const numeric = column.every((one) => one === null || one === undefined || asNumber(one) !== null);
  if (!numeric) {
    const categories = [...new Set(column.filter((one) => one !== null && one !== undefined).map(String))].sort();
    const places = new Map(categories.map((one, place) => [one, place]));
    const numbers = column.map((one) => (one === null || one === undefined ? null : (places.get(String(one)) ?? null)));
    return { label, categories, numbers, low: -0.5, high: categories.length - 0.5, log: false };
  }
  const numbers = column.map((one) => {
    const found = asNumber(one);
    return found !== null && Number.isFinite(found) ? found : null;
  });
  let low = Infinity;
  let high = -Infinity;
  for (const one of numbers) {
    if (one === null) continue;
    if (one < low) low = one;
    if (one > high) high = one;
  }
  if (low > high) [low, high] = [0, 1];
  return { label, categories: null, numbers, low, high, log: low > 0 && high / low > 50 };
}
