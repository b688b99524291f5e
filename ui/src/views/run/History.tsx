import { useEffect, useState } from "preact/hooks";
import { get, query, type Schemas } from "../../api/client";
import { duration, moment } from "../../parts/format";
import { Link } from "../../parts/Link";
import { Status } from "../../parts/status";
import { Alerts } from "../Alerts";
import type { RunRecord } from "../../api/types";

/** What happened to a run, and which runs are around it. */
export function History({ run }: { run: RunRecord }) {
  const [lineage, setLineage] = useState<Schemas["Lineage"] | null>(null);
  useEffect(() => {
    get<Schemas["Lineage"]>(`/api/runs/${run.id}/lineage`).then(setLineage, () => undefined);
  }, [run.id, run.updated_at]);
  const [alerts, setAlerts] = useState<Schemas["Alert"][]>([]);
  useEffect(() => {
    get<Schemas["Alert"][]>(`/api/alerts${query({ where: `id = '${run.id}'`, limit: 100 })}`).then(setAlerts, () => undefined);
  }, [run.id, run.updated_at]);
  const changes = run.history ?? [];
  return (
    <div>
      <h2>States</h2>
      <table class="list">
        <tbody>
          {changes.map((one, place) => {
            const next = changes[place + 1];
            const until = next ? new Date(next.time).getTime() : run.ended_at ? null : Date.now();
            return (
              <tr key={place}>
                <td class="soft">{moment(one.time)}</td>
                <td>
                  <Status status={one.status} />
                </td>
                <td class="number soft">{until === null ? "" : duration((until - new Date(one.time).getTime()) / 1000)}</td>
                <td>{one.attempt ? `attempt ${one.attempt}` : ""}</td>
                <td>{one.reason}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {alerts.length > 0 && (
        <>
          <h2>Alerts</h2>
          <Alerts alerts={alerts} />
        </>
      )}
      <h2>
        Runs around it <Link to={`/lineage/${run.id}`}>as a graph</Link>
      </h2>
      {lineage?.related.length === 0 && <p class="soft">none</p>}
      {lineage && lineage.related.length > 0 && (
        <table class="list">
          <tbody>
            {lineage.related.map((one, place) => (
              <tr key={place}>
                <td>{one.kind}</td>
                <td>
                  <Link to={`/run/${one.id}`}>{one.name}</Link>
                </td>
                <td class="soft">{one.experiment}</td>
                <td>
                  <Status status={one.status} />
                </td>
                <td>{one.artifact}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
