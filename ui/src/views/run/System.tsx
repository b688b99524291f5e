import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { get, query, type Schemas } from "../../api/client";
import type { Curve } from "../../api/curves";
import { LineChart } from "../../charts/LineChart";
import { bytes, value } from "../../parts/format";
import type { RunRecord } from "../../api/types";

const MOST = 100;
/** A figure of one GPU, as runbase, W&B and Trackio name it. */
const GPU = /^(?:system\/)?gpu[./](\d+)[./](.+)$/;

/** What W&B's and runbase's short names of figures stand for. */
const FIGURES: Record<string, string> = {
  gpu: "utilization, %",
  percent: "utilization, %",
  memory: "memory access, %",
  memoryAllocated: "memory, %",
  memoryAllocatedBytes: "memory, bytes",
  temp: "temperature, °C",
  powerPercent: "power, %",
  powerWatts: "power, W",
};

/** Curves of GPUs by figure; the other curves. */
function byGpu(series: Curve[]): { gpus: [string, [string, Curve][]][]; others: Curve[] } {
  const gpus = new Map<string, [string, Curve][]>();
  const others: Curve[] = [];
  for (const curve of series) {
    const found = GPU.exec(curve.key);
    if (found) gpus.set(found[2]!, [...(gpus.get(found[2]!) ?? []), [found[1]!, curve]]);
    else others.push(curve);
  }
  for (const curves of gpus.values()) curves.sort(([a], [b]) => Number(a) - Number(b));
  return { gpus: [...gpus], others };
}

/** One range for several charts, so that they can be compared; it begins at 0 unless a value is below. */
function rangeOf(curves: Curve[]): [number, number] {
  let [low, high] = [0, -Infinity];
  for (const { low: values } of curves) {
    for (const one of values) {
      if (!Number.isFinite(one)) continue;
      low = Math.min(low, one);
      high = Math.max(high, one);
    }
  }
  return high > low ? [low, high + (high - low) * 0.05] : [low, low + 1];
}

/** The machine: its hardware, and CPU, memory, GPU, disk and network over time. */
export function System({ run, tick }: { run: RunRecord; tick: number }) {
  const [series, setSeries] = useState<Curve[]>([]);
  const [keys, setKeys] = useState<string[] | null>(null);
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  const hovered = useSignal<string | null>(null);
  const cursor = useSignal<number | null>(null);
  const slow = Math.floor(tick / 10);

  useEffect(() => {
    let current = true;
    void (async () => {
      const found = await get<string[]>(`/api/runs/${run.id}/keys?kind=telemetry`);
      if (!current) return;
      setKeys(found);
      const start = new Date(run.started_at ?? run.created_at).getTime() / 1000;
      const curves = await Promise.all(
        found.slice(0, MOST).map(async (key): Promise<Curve> => {
          const points = await get<Schemas["PointsAnswer"]>(`/api/runs/${run.id}/points${query({ key, kind: "telemetry" })}`);
          const y = Float64Array.from(points.values.map((one) => one ?? Number.NaN));
          const x = Float64Array.from(points.times.map((one) => one - start));
          return { run: run.id, key, form: "points", count: x.length, nans: 0, nanAt: [], last: x[x.length - 1] ?? null, x, low: y, high: y };
        }),
      );
      if (current) setSeries(curves);
    })().catch(() => undefined);
    return () => {
      current = false;
    };
  }, [run.id, slow]);

  const whole: [number, number] = [Math.min(0, ...series.map((one) => one.x[0] ?? 0)), Math.max(1, ...series.map((one) => one.last ?? 0))];
  const { gpus, others } = byGpu(series);
  const card = (curve: Curve, title: string, height: number, yRange: [number, number] | null) => (
    <figure class="card" key={curve.key} data-telemetry={curve.key}>
      <figcaption>
        <span class="title" title={curve.key}>
          {title}
        </span>
      </figcaption>
      <LineChart
        title={curve.key}
        curves={[curve]}
        whole={whole}
        axis="relative"
        zoom={zoom}
        onZoom={setZoom}
        name={() => title}
        hovered={hovered}
        cursor={cursor}
        height={height}
        yRange={yRange}
      />
    </figure>
  );
  const { packages: _, ...hardware } = run.system as Record<string, unknown>;
  return (
    <div>
      <h2>Machine</h2>
      <table class="list pairs">
        <tbody>
          {Object.entries(hardware).map(([key, one]) => (
            <tr key={key}>
              <th scope="row">{key}</th>
              <td class="wrap">{key === "memory" && typeof one === "number" ? bytes(one) : value(one)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <h2>Over time</h2>
      {keys?.length === 0 && <p class="soft">{nothing(run)}</p>}
      {keys && keys.length > MOST && (
        <p class="soft">
          the first {MOST} of {keys.length} figures
        </p>
      )}
      {gpus.map(([figure, curves]) => (
        <section key={figure} aria-label={`GPU ${figure}`}>
          <h3>GPU {FIGURES[figure] ?? figure}</h3>
          <div class="cards small">{curves.map(([index, curve]) => card(curve, `GPU ${index}`, 100, rangeOf(curves.map(([, one]) => one))))}</div>
        </section>
      ))}
      {gpus.length > 0 && others.length > 0 && <h3>Machine and process</h3>}
      <div class="cards">{others.map((curve) => card(curve, curve.key.replace(/^system\//, ""), 140, null))}</div>
    </div>
  );
}

function nothing(run: RunRecord): string {
  if (run.source_status) return "No samples were imported with this run.";
  return `No sample${run.ended_at ? "s" : " yet"}: the first one is taken 15 seconds after the start.`;
}
