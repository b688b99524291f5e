import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { MediaRecord, RunRecord } from "../../api/types";
import { number, plural } from "../../parts/format";
import { param, setParams } from "../../state/url";
import { Against, comparable } from "../media/Against";
import { at, isPicture, One } from "../media/One";
import { LinkedZoom, ZoomButtons } from "../media/Picture";
import { Ridgeline } from "../media/Ridgeline";
import { StepSlider, useSteps } from "../media/steps";

/** How a record of a run is compared: with the one before it, or with the first one. */
const AGAINST: [string, string][] = [
  ["", "nothing"],
  ["previous", "the previous step"],
  ["first", "the first step"],
];

/** Images, audio, video, tables, histograms and texts, each by its steps, with one slider for all. */
export function Media({ run, records, more }: { run: RunRecord; records: MediaRecord[]; more: boolean }) {
  const groups = useMemo(() => {
    const found = new Map<string, MediaRecord[]>();
    for (const one of records) found.set(one.key, [...(found.get(one.key) ?? []), one]);
    return [...found];
  }, [records]);
  const steps = useSteps(records);
  const divider = useSignal(0.5);
  const against = param("with");
  const hasImages = records.some(isPicture);
  if (!groups.length) return <p class="soft centre">This run logged no images, tables, histograms or texts.</p>;

  function body(items: MediaRecord[]) {
    if (items[0]!.kind === "histogram") return <Ridgeline records={items} step={steps.step} />;
    const record = at(items, steps.step);
    const base = against === "first" ? items[0]! : against === "previous" ? (items[items.indexOf(record) - 1] ?? null) : null;
    if (base === record || !comparable(base, record)) return <One record={record} />;
    return <Against base={base} baseName={run.name} record={record} name={run.name} divider={divider} />;
  }
  return (
    <div class="media">
      <LinkedZoom>
        <div class="bar">
          <StepSlider {...steps} />
          {steps.steps.length > 1 && (
            <label>
              compare with{" "}
              <select value={against} onChange={(event) => setParams({ with: event.currentTarget.value })}>
                {AGAINST.map(([id, label]) => (
                  <option key={id} value={id}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
          )}
          {hasImages && <ZoomButtons />}
          {more && <span class="soft">the first {number(records.length)} records</span>}
        </div>
        <div class="cards">
          {groups.map(([key, items]) => (
            <figure class="card" key={key} data-key={key}>
              <figcaption>
                <span class="title">{key}</span> <span class="soft">{items.length > 1 ? plural(items.length, "step") : ""}</span>
              </figcaption>
              {body(items)}
            </figure>
          ))}
        </div>
      </LinkedZoom>
    </div>
  );
}
