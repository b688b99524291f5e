import { useSignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { get, query, type Schemas } from "../../api/client";
import type { Curve } from "../../api/curves";
import { LineChart } from "../../charts/LineChart";
import { bytes, value } from "../../parts/format";
import type { RunRecord } from "../Run";

const MOST = 60;

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
      {keys?.length === 0 && <p class="soft">{run.ended_at ? "No samples: the first one is taken 15 seconds after the start." : "No sample yet: the first one is taken 15 seconds after the start."}</p>}
      <div class="cards">
        {series.map((curve) => (
          <figure class="card" key={curve.key}>
            <figcaption>
              <span class="title">{curve.key}</span>
            </figcaption>
            <LineChart
              title={curve.key}
              curves={[curve]}
              whole={whole}
              axis="relative"
              zoom={zoom}
              onZoom={setZoom}
              name={() => curve.key}
              hovered={hovered}
              cursor={cursor}
              height={140}
            />
          </figure>
        ))}
      </div>
    </div>
  );
}
