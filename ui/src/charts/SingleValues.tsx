import type { Signal } from "@preact/signals";
import type { Curve } from "../api/curves";
import { number } from "../parts/format";
import { isDark } from "../state/theme";
import { colourOf } from "./palette";

interface Props {
  curves: Curve[];
  name: (run: string) => string;
  hovered: Signal<string | null>;
  height: number;
}

/** Whether each run has one value only, such as the result of a trial: then there is no curve to draw. */
export function areSingle(curves: Curve[]): boolean {
  return curves.length > 0 && curves.every((curve) => curve.form === "points" && curve.count === 1 && curve.x.length === 1 && Number.isFinite(curve.low[0]));
}

/** One bar a run, from zero; with its value. */
export function SingleValues({ curves, name, hovered, height }: Props) {
  const values = curves.map((curve) => curve.low[0]!);
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const dark = isDark();
  return (
    <div class="chart singles" data-curves={curves.length} data-y={`${low},${low + span}`} style={{ maxHeight: `${height}px` }} tabIndex={0} role="group" aria-label="one value a run">
      <table class="bars">
        <tbody>
          {curves.map((curve, place) => (
            <tr key={curve.run} class={hovered.value === curve.run ? "marked" : ""} onPointerEnter={() => (hovered.value = curve.run)} onPointerLeave={() => (hovered.value = null)}>
              <th scope="row">{name(curve.run)}</th>
              <td>
                <i
                  style={{
                    background: colourOf(curve.run, dark),
                    marginLeft: `${((Math.min(values[place]!, 0) - low) / span) * 100}%`,
                    width: `${(Math.abs(values[place]!) / span) * 100}%`,
                  }}
                />
              </td>
              <td class="number">{number(values[place]!)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
