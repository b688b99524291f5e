import { useSignal, type Signal } from "@preact/signals";
import { useState } from "preact/hooks";
import type { Schemas } from "../../api/client";
import type { Curve } from "../../api/curves";
import { LineChart } from "../../charts/LineChart";
import { asNumber, number, value } from "../../parts/format";

type Answer = Schemas["SqlAnswer"];
type Form = "none" | "line" | "bars";
const MOST_BARS = 40;

/** The rows of a query as lines over one column, or as bars. */
export function ResultChart({ answer }: { answer: Answer }) {
  const numeric = answer.columns
    .map((name, place) => ({ name, place }))
    .filter(({ place }) => answer.rows.some((row) => asNumber(row[place]) !== null) && answer.rows.every((row) => row[place] === null || asNumber(row[place]) !== null));
  const [form, setForm] = useState<Form>("none");
  const [x, setX] = useState(0);
  const [y, setY] = useState<number | null>(null);
  const hovered = useSignal<string | null>(null);
  const cursor = useSignal<number | null>(null);
  const [zoom, setZoom] = useState<[number, number] | null>(null);
  if (!numeric.length || answer.rows.length < 2) return null;
  const across = Math.min(x, answer.columns.length - 1);
  const up = y !== null && numeric.some((one) => one.place === y) ? y : numeric[numeric.length - 1]!.place;

  return (
    <div class="result-chart">
      <div class="row">
        <label>
          chart{" "}
          <select value={form} onChange={(event) => setForm(event.currentTarget.value as Form)}>
            <option value="none">none</option>
            <option value="line">lines</option>
            <option value="bars">bars</option>
          </select>
        </label>
        {form !== "none" && (
          <>
            <label>
              x{" "}
              <select value={across} onChange={(event) => setX(Number(event.currentTarget.value))}>
                {(form === "line" ? numeric : answer.columns.map((name, place) => ({ name, place }))).map(({ name, place }) => (
                  <option key={place} value={place}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            <label>
              y{" "}
              <select value={up} onChange={(event) => setY(Number(event.currentTarget.value))}>
                {numeric.map(({ name, place }) => (
                  <option key={place} value={place}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
          </>
        )}
      </div>
      {form === "bars" && <Bars rows={answer.rows.slice(0, MOST_BARS).map((row) => [value(row[across]), asNumber(row[up]) ?? 0])} />}
      {form === "line" && <Lines answer={answer} x={across} y={up} zoom={zoom} setZoom={setZoom} hovered={hovered} cursor={cursor} />}
    </div>
  );
}

function Bars({ rows }: { rows: [string, number][] }) {
  const most = Math.max(...rows.map(([, size]) => Math.abs(size)), 1e-300);
  return (
    <table class="bars">
      <tbody>
        {rows.map(([label, size], place) => (
          <tr key={place}>
            <th scope="row">{label}</th>
            <td>
              <i style={{ width: `${(Math.abs(size) / most) * 100}%` }} />
            </td>
            <td class="number">{number(size)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface LinesProps {
  answer: Answer;
  x: number;
  y: number;
  zoom: [number, number] | null;
  setZoom: (range: [number, number] | null) => void;
  hovered: Signal<string | null>;
  cursor: Signal<number | null>;
}

/** One line for each value of the first text column, if there is one. */
function Lines({ answer, x, y, zoom, setZoom, hovered, cursor }: LinesProps) {
  const by = answer.columns.findIndex((_, place) => place !== x && place !== y && answer.rows.some((row) => typeof row[place] === "string"));
  const groups = new Map<string, [number, number][]>();
  for (const row of answer.rows) {
    const [across, up] = [asNumber(row[x]), asNumber(row[y])];
    if (across === null || up === null) continue;
    const name = by < 0 ? answer.columns[y]! : value(row[by]);
    groups.set(name, [...(groups.get(name) ?? []), [across, up]]);
  }
  const curves = [...groups].slice(0, 100).map(([name, points]): Curve => {
    points.sort((a, b) => a[0] - b[0]);
    const low = Float64Array.from(points.map((one) => one[1]));
    const places = Float64Array.from(points.map((one) => one[0]));
    return { run: name, key: name, form: "points", count: places.length, nans: 0, nanAt: [], last: null, x: places, low, high: low };
  });
  const all = curves.flatMap((one) => [one.x[0]!, one.x[one.x.length - 1]!]);
  return (
    <LineChart
      title="query"
      curves={curves}
      whole={[Math.min(...all), Math.max(...all)]}
      axis="step"
      zoom={zoom}
      onZoom={setZoom}
      name={(name) => name}
      hovered={hovered}
      cursor={cursor}
      height={240}
    />
  );
}
