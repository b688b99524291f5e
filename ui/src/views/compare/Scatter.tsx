import type { Signal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { PointPlot } from "../../charts/PointPlot";
import { go } from "../../state/url";
import type { RunRecord } from "../../api/types";
import { AllRuns } from "./AllRuns";
import { dimension, mostTelling, ofRuns, type Plotted } from "./values";

/** Two parameters or metrics of runs against each other. */
export function Scatter({ runs, hovered }: { runs: RunRecord[]; hovered: Signal<string | null> }) {
  const [all, setAll] = useState<Plotted | null>(null);
  const own = useMemo(() => ofRuns(runs), [runs]);
  const plotted = all ?? own;
  const labels = Object.keys(plotted.values);
  const telling = mostTelling(plotted, new Set(runs.flatMap((run) => Object.keys(run.metrics))));
  const numeric = telling.find((label) => !dimension(label, plotted.values[label]!).categories);
  const [x, setX] = useState<string | null>(null);
  const [y, setY] = useState<string | null>(null);
  const [tint, setTint] = useState<string>("");
  useEffect(() => {
    setX((old) => old ?? numeric ?? labels[0] ?? null);
    setY((old) => old ?? telling[telling.length - 1] ?? labels[1] ?? null);
  }, [labels.join()]);
  if (labels.length < 2) return <p class="soft centre">These runs have no two parameters or metrics to plot.</p>;
  const pick = (label: string, current: string | null, set: (next: string) => void) => (
    <label>
      {label}{" "}
      <select value={current ?? ""} onChange={(event) => set(event.currentTarget.value)}>
        {label === "colour" && <option value="">run</option>}
        {labels.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <div class="bar">
        {pick("x", x, setX)}
        {pick("y", y, setY)}
        {pick("colour", tint, setTint)}
        <AllRuns runs={runs} all={all} setAll={setAll} />
      </div>
      {x && y && x in plotted.values && y in plotted.values && (
        <PointPlot
          ids={plotted.ids}
          names={plotted.names}
          x={dimension(x, plotted.values[x]!)}
          y={dimension(y, plotted.values[y]!)}
          tint={tint && tint in plotted.values ? dimension(tint, plotted.values[tint]!) : null}
          hovered={hovered}
          onOpen={(id) => go(`/run/${id}`)}
          height={460}
        />
      )}
    </>
  );
}
