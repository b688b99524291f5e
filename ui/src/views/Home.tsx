import { useEffect, useState } from "preact/hooks";
import { get, post, type Schemas } from "../api/client";
import { useChanges } from "../api/useChanges";
import { ago, duration, number, plural } from "../parts/format";
import { Link } from "../parts/Link";
import { look, Status } from "../parts/status";
import { failed } from "../parts/toast";
import { Alerts } from "./Alerts";
import { Welcome } from "./Welcome";

type Table = Schemas["TableAnswer"];
const COLUMNS = ["name", "experiment", "status", "alive", "seen_at", "seconds", "started_at", "ended_at", "error.type", "error.message"];

interface Row {
  id: string;
  [column: string]: unknown;
}

function asRows(table: Table): Row[] {
  return table.ids.map((id, place) => ({
    id,
    ...Object.fromEntries(Object.entries(table.columns).map(([name, values]) => [name, values[place]])),
  }));
}

/** What goes on: running runs, runs that ended badly of late, experiments by last use. */
export function Home() {
  const [running, setRunning] = useState<Row[] | null>(null);
  const [waiting, setWaiting] = useState(0);
  const [died, setDied] = useState<Row[]>([]);
  const [experiments, setExperiments] = useState<Schemas["Experiment"][] | null>(null);
  const [counts, setCounts] = useState<Record<string, Record<string, number>>>({});
  const [alerts, setAlerts] = useState<Schemas["Alert"][]>([]);
  const [about, setAbout] = useState<Schemas["About"] | null>(null);

  function load(): void {
    const ask = (where: string, order_by: string, limit: number) =>
      post<Table>("/api/table", { where, columns: COLUMNS, order_by, limit, total: true });
    Promise.all([
      ask("status = 'RUNNING'", "started_at desc", 20),
      ask("status in ('FAILED', 'NODE_FAIL', 'TIMEOUT', 'OUT_OF_MEMORY') and ended_at > ago('7 days')", "ended_at desc", 8),
      post<Table>("/api/table", { where: "status = 'PENDING'", columns: ["id"], limit: 1, total: true }),
      get<Schemas["ExperimentPage"]>("/api/experiments?order_by=updated_at%20desc&limit=50"),
      get<Schemas["About"]>("/api/server"),
      post<Table>("/api/table", { columns: ["seconds"], group_by: ["experiment", "status"], limit: 1000 }),
      get<Schemas["Alert"][]>("/api/alerts?limit=8"),
    ]).then(([now, bad, queue, page, server, groups, news]) => {
      setAlerts(news);
      setRunning(asRows(now));
      setDied(asRows(bad));
      setWaiting(queue.total ?? 0);
      setExperiments(page.experiments);
      setAbout(server);
      const found: Record<string, Record<string, number>> = {};
      const { experiment = [], status = [], count = [] } = groups.columns;
      experiment.forEach((name, place) => {
        (found[String(name)] ??= {})[String(status[place])] = Number(count[place]);
      });
      setCounts(found);
    }, failed);
  }

  useEffect(load, []);
  useChanges({ columns: ["status"] }, load, 1000);

  if (experiments?.length === 0) return <Welcome experiment={null} onFirst={load} />;
  if (!running || !experiments) return null;
  return (
    <div class="page home">
      <header class="top">
        <h1>Home</h1>
        {about && (
          <span class="soft">
            {plural(about.totals.runs ?? 0, "run")}
            {about.totals.points !== undefined && `, ${number(about.totals.points)} points`}, {about.dialect}
          </span>
        )}
      </header>
      <section>
        <h2>
          Active runs <span class="soft">{running.length}</span>
          {waiting > 0 && <span class="soft"> · {plural(waiting, "trial")} waiting</span>}
        </h2>
        {running.length === 0 && <p class="soft">No run is active.</p>}
        <RunList rows={running} />
      </section>
      {alerts.length > 0 && (
        <section>
          <h2>
            Alerts <Link to="/settings?tab=alerts">rules</Link>
          </h2>
          <Alerts alerts={alerts} />
        </section>
      )}
      {died.length > 0 && (
        <section>
          <h2>Ended badly in the last week</h2>
          <RunList rows={died} ended />
        </section>
      )}
      <section>
        <h2>
          Experiments <span class="soft">{experiments.length}</span>
        </h2>
        <table class="list">
          <thead>
            <tr>
              <th>name</th>
              <th class="number">runs</th>
              <th>states</th>
              <th>objectives</th>
              <th>changed</th>
            </tr>
          </thead>
          <tbody>
            {experiments.map((one) => {
              const states = counts[one.name] ?? {};
              const total = Object.values(states).reduce((sum, count) => sum + count, 0);
              return (
                <tr key={one.id}>
                  <td>
                    <Link to={`/e/${encodeURIComponent(one.name)}`}>{one.name}</Link>
                    {one.description && <span class="soft"> {one.description}</span>}
                  </td>
                  <td class="number">{number(total)}</td>
                  <td>
                    <States states={states} total={total} />
                  </td>
                  <td>{(one.objectives ?? []).map((aim) => `${aim.direction} ${aim.metric}`).join(", ")}</td>
                  <td class="soft">{ago(one.updated_at)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </section>
    </div>
  );
}

const ORDER = ["RUNNING", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"];

/** The shares of states as one bar. */
function States({ states, total }: { states: Record<string, number>; total: number }) {
  const known = [...ORDER, ...Object.keys(states).filter((status) => !ORDER.includes(status))].filter((status) => states[status]);
  const label = Object.entries(states)
    .map(([status, count]) => `${count} ${look(status).word}`)
    .join(", ");
  return (
    <span class="states" role="img" aria-label={label} title={label}>
      {known.map((status) => (
        <i key={status} style={{ width: `${((states[status] ?? 0) / total) * 100}%`, background: `var(${look(status).colour})` }} />
      ))}
    </span>
  );
}

function RunList({ rows, ended }: { rows: Row[]; ended?: boolean }) {
  if (!rows.length) return null;
  return (
    <table class="list run-list">
      <tbody>
        {rows.map((row) => (
          <tr key={row.id}>
            <td>
              <Link to={`/run/${row.id}`}>{String(row.name)}</Link>
            </td>
            <td>
              <Link to={`/e/${encodeURIComponent(String(row.experiment))}`} class="soft">
                {String(row.experiment)}
              </Link>
            </td>
            <td>
              <Status status={row.status} alive={row.alive} seen={row.seen_at as string | null} />
            </td>
            <td class="number">{row.seconds === null ? "" : duration(Number(row.seconds))}</td>
            <td class="soft">{ended ? ago(row.ended_at as string) : `started ${ago(row.started_at as string)}`}</td>
            <td class="soft cut" title={String(row["error.message"] ?? "")}>
              {[row["error.type"], row["error.message"]].filter((text) => text && text !== "error").join(": ")}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
