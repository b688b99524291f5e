import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { get, type Schemas } from "../../api/client";
import { Link } from "../../parts/Link";
import { failed } from "../../parts/toast";
import { param, setParams } from "../../state/url";
import { Against, comparable } from "../media/Against";
import { LinkedZoom, ZoomButtons } from "../media/Picture";
import { StepSlider, useSteps } from "../media/steps";
import type { MediaRecord, RunRecord } from "../../api/types";
import { at, isPicture, One } from "../media/One";

/** Media of runs: a row for each key, a column for each run, one step and one zoom for all. The first run is the baseline. */
export function MediaGrid({ runs }: { runs: RunRecord[] }) {
  const [records, setRecords] = useState<Map<string, MediaRecord[]> | null>(null);
  const [cut, setCut] = useState<string[]>([]);
  const ids = runs.map((run) => run.id).join();
  useEffect(() => {
    Promise.all(runs.map((run) => get<Schemas["Records"]>(`/api/runs/${run.id}/records`).then((found) => [run, found] as const))).then((all) => {
      setRecords(new Map(all.map(([run, found]) => [run.id, found.records])));
      setCut(all.filter(([, found]) => found.more).map(([run]) => run.name));
    }, failed);
  }, [ids]);
  const all = useMemo(() => [...(records?.values() ?? [])].flat(), [records]);
  const steps = useSteps(all);
  const divider = useSignal(0.5);
  const against = param("how") === "baseline";
  const keys = useMemo(() => [...new Set(all.map((one) => one.key))], [all]);
  if (!records) return null;
  if (!keys.length) return <p class="soft centre">These runs logged no images, tables, histograms or texts.</p>;
  const [base] = runs;

  function recordOf(run: RunRecord, key: string): MediaRecord | null {
    const own = (records!.get(run.id) ?? []).filter((one) => one.key === key);
    return own.length ? at(own, steps.step) : null;
  }
  function cell(run: RunRecord, key: string) {
    const record = recordOf(run, key);
    if (!record) return <span class="soft">–</span>;
    const other = against && run !== base ? recordOf(base!, key) : null;
    if (!comparable(other, record)) return <One record={record} />;
    return <Against base={other} baseName={base!.name} record={record} name={run.name} divider={divider} />;
  }
  return (
    <div class="media">
      <LinkedZoom>
        <div class="bar">
          <StepSlider {...steps} />
          {runs.length > 1 && (
            <span class="row" role="group" aria-label="how runs are compared">
              <button type="button" aria-pressed={!against} onClick={() => setParams({ how: null })}>
                side by side
              </button>
              <button
                type="button"
                aria-pressed={against}
                title="images below a divider; changed lines of texts and tables"
                onClick={() => setParams({ how: "baseline" })}
              >
                against {base!.name}
              </button>
            </span>
          )}
          {all.some(isPicture) && <ZoomButtons />}
          {cut.length > 0 && <span class="soft">only the first records of {cut.join(", ")}</span>}
        </div>
        <div class="scroll">
          <table class="list media-grid">
            <thead>
              <tr>
                <td />
                {runs.map((run) => (
                  <th key={run.id} scope="col">
                    <Link to={`/run/${run.id}/media`}>{run.name}</Link>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {keys.map((key) => (
                <tr key={key} data-key={key}>
                  <th scope="row">{key}</th>
                  {runs.map((run) => (
                    <td key={run.id}>{cell(run, key)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </LinkedZoom>
    </div>
  );
}
