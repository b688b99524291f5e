import { useState } from "preact/hooks";
import { number, value } from "../../parts/format";
import type { RunRecord } from "../../api/types";

interface Group {
  label: string;
  runs: RunRecord[];
  values: number[];
}

// The 97.5 % points of Student's distribution for 1 to 30 degrees of freedom; the normal one beyond.
const STUDENT = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
];

function statistics(values: number[]) {
  const { length: n } = values;
  const mean = values.reduce((sum, one) => sum + one, 0) / n;
  const sd = n > 1 ? Math.sqrt(values.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (n - 1)) : 0;
  const half = n > 1 ? ((STUDENT[n - 2] ?? 1.96) * sd) / Math.sqrt(n) : Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const quantile = (share: number) => {
    const place = share * (n - 1);
    const low = Math.floor(place);
    return sorted[low]! + ((sorted[low + 1] ?? sorted[low]!) - sorted[low]!) * (place - low);
  };
  return { n, mean, sd, half, low: sorted[0]!, high: sorted[n - 1]!, q1: quantile(0.25), median: quantile(0.5), q3: quantile(0.75) };
}

/** Runs that differ only in their seed, or share some parameter, as one: mean, interval, box, and how often they win. */
export function Seeds({ runs }: { runs: RunRecord[] }) {
  const params = [...new Set(runs.flatMap((run) => Object.keys(run.params)))];
  const differing = params.filter((key) => new Set(runs.map((run) => JSON.stringify(run.params[key]))).size > 1);
  const seeds = params.filter((key) => /(^|[/_.])seed$/i.test(key));
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  const [by, setBy] = useState<string>("");
  const [metric, setMetric] = useState(metrics.find((key) => /val|test|eval/.test(key)) ?? metrics[0] ?? "");
  const [less, setLess] = useState(/loss|error|err$|latency|time/i.test(metric));
  const keys = by ? [by] : differing.filter((key) => !seeds.includes(key));
  const groups = new Map<string, Group>();
  for (const run of runs) {
    const found = run.metrics[metric]?.last;
    if (found === null || found === undefined) continue;
    const label = keys.map((key) => `${key} ${value(run.params[key]) || "–"}`).join(", ") || "all";
    const group = groups.get(label) ?? { label, runs: [], values: [] };
    group.runs.push(run);
    group.values.push(found);
    groups.set(label, group);
  }
  const rows = [...groups.values()].map((group) => ({ ...group, ...statistics(group.values) }));
  rows.sort((a, b) => (less ? a.mean - b.mean : b.mean - a.mean));
  if (!metrics.length) return <p class="soft centre">These runs have no metrics.</p>;
  const low = Math.min(...rows.map((row) => row.low));
  const high = Math.max(...rows.map((row) => row.high));
  const at = (value: number) => `${((value - low) / (high - low || 1)) * 100}%`;
  const best = rows[0];
  const beaten = (row: (typeof rows)[number]) => {
    if (!best || row === best) return "";
    let won = 0;
    let pairs = 0;
    for (const a of row.values) {
      for (const b of best.values) {
        pairs++;
        if (less ? a < b : a > b) won++;
      }
    }
    return `${Math.round((won / pairs) * 100)} %`;
  };
  return (
    <>
      <div class="bar">
        <label>
          metric{" "}
          <select value={metric} onChange={(event) => setMetric(event.currentTarget.value)}>
            {metrics.map((key) => (
              <option key={key}>{key}</option>
            ))}
          </select>
        </label>
        <label>
          group by{" "}
          <select value={by} onChange={(event) => setBy(event.currentTarget.value)}>
            <option value="">all parameters except seeds</option>
            {differing.map((key) => (
              <option key={key}>{key}</option>
            ))}
          </select>
        </label>
        <label>
          <input type="checkbox" checked={less} onChange={() => setLess(!less)} /> less is better
        </label>
      </div>
      <div class="scroll">
        <table class="list seeds">
          <thead>
            <tr>
              <th>group</th>
              <th class="number">runs</th>
              <th class="number">mean</th>
              <th class="number" title="95 % confidence interval of the mean, by Student's distribution">
                ± 95 %
              </th>
              <th class="number">sd</th>
              <th>
                {number(low)} … {number(high)}
              </th>
              <th class="number" title="how often a run of this group is better than one of the best group">
                beats the best
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.label}>
                <td class="wrap">{row.label}</td>
                <td class="number">{row.n}</td>
                <td class="number">{number(row.mean)}</td>
                <td class="number soft">{Number.isNaN(row.half) ? "" : number(row.half)}</td>
                <td class="number soft">{row.n > 1 ? number(row.sd) : ""}</td>
                <td>
                  <span class="box" role="img" aria-label={`from ${number(row.low)} to ${number(row.high)}, median ${number(row.median)}`}>
                    <i class="whisker" style={{ left: at(row.low), right: `calc(100% - ${at(row.high)})` }} />
                    <i class="quartiles" style={{ left: at(row.q1), right: `calc(100% - ${at(row.q3)})` }} />
                    <i class="median" style={{ left: at(row.median) }} />
                  </span>
                </td>
                <td class="number">{beaten(row)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
