import { useEffect, useState } from "preact/hooks";
import { get, type Schemas } from "../../api/client";
import { number } from "../../parts/format";
import { failed } from "../../parts/toast";
import { Link } from "../../parts/Link";
import { at, One, type MediaRecord } from "../run/Media";
import type { RunRecord } from "../Run";

/** Media of runs: a row for each key, a column for each run, one step for all. */
export function MediaGrid({ runs }: { runs: RunRecord[] }) {
  const [records, setRecords] = useState<Map<string, MediaRecord[]> | null>(null);
  const [place, setPlace] = useState<number | null>(null);
  useEffect(() => {
    Promise.all(runs.map((run) => get<Schemas["Records"]>(`/api/runs/${run.id}/records`).then((found) => [run.id, found.records] as const))).then(
      (found) => setRecords(new Map(found)),
      failed,
    );
  }, [runs.map((run) => run.id).join()]);
  if (!records) return null;
  const all = [...records.values()].flat();
  const keys = [...new Set(all.map((one) => one.key))];
  const steps = [...new Set(all.map((one) => one.step).filter((one): one is number => one !== null))].sort((a, b) => a - b);
  const step = steps[place ?? steps.length - 1] ?? null;
  if (!keys.length) return <p class="soft centre">These runs logged no images, tables, histograms or texts.</p>;
  return (
    <>
      {steps.length > 1 && (
        <div class="bar">
          <label>
            step{" "}
            <input type="range" class="wide" min={0} max={steps.length - 1} value={place ?? steps.length - 1} onInput={(event) => setPlace(Number(event.currentTarget.value))} />{" "}
            <output>{step === null ? "" : number(step)}</output>
          </label>
        </div>
      )}
      <div class="scroll">
        <table class="list media">
          <thead>
            <tr>
              <th />
              {runs.map((run) => (
                <th key={run.id}>
                  <Link to={`/run/${run.id}/media`}>{run.name}</Link>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {keys.map((key) => (
              <tr key={key}>
                <th scope="row" class="family">
                  {key}
                </th>
                {runs.map((run) => {
                  const own = (records.get(run.id) ?? []).filter((one) => one.key === key);
                  return <td key={run.id}>{own.length ? <One run={run.id} record={at(own, step)} /> : <span class="soft">–</span>}</td>;
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
