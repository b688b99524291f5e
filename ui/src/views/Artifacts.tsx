import { useEffect, useState } from "preact/hooks";
import { get, query, url, type Schemas } from "../api/client";
import { FilterBox } from "../filter/FilterBox";
import { ago, bytes, plural } from "../parts/format";
import { Link } from "../parts/Link";
import { ApiError, type Problem } from "../api/client";
import { param, setParams } from "../state/url";

type Row = Schemas["ArtifactRow"];
const MEDIA = new Set(["image", "audio", "video", "plot", "table", "histogram", "media"]);

/** Artifacts of runs, named ones with their versions first. */
export function Artifacts() {
  const [rows, setRows] = useState<Row[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const where = param("q");
  const media = param("media") === "1";
  useEffect(() => {
    get<Row[]>(`/api/artifacts${query({ where, limit: 1000 })}`).then(
      (found) => {
        setRows(found);
        setProblem(null);
      },
      (error: Error) => error instanceof ApiError && setProblem(error.problem),
    );
  }, [where]);
  const shown = (rows ?? []).filter((one) => media || !MEDIA.has(one.artifact.kind));
  const named = new Map<string, Row[]>();
  for (const one of shown) {
    if (one.artifact.name) named.set(one.artifact.name, [...(named.get(one.artifact.name) ?? []), one]);
  }
  return (
    <div class="page">
      <header class="top">
        <h1>Artifacts</h1>
        <FilterBox value={where} onChange={(q) => setParams({ q })} problem={problem} experiment={null} placeholder="filter runs: experiment = 'digits'" />
        <label>
          <input type="checkbox" checked={media} onChange={() => setParams({ media: media ? null : "1" })} /> images and other media
        </label>
        <span class="soft">{rows ? `${plural(shown.length, "artifact")}, ${bytes(shown.reduce((sum, one) => sum + one.artifact.size, 0))}` : ""}</span>
      </header>
      {rows && !shown.length && (
        <p class="soft centre">
          No artifacts. A run logs one with <code>run.log_artifact("model.pt", kind="checkpoint")</code>.
        </p>
      )}
      {named.size > 0 && (
        <section>
          <h2>By name</h2>
          {[...named].map(([name, versions]) => (
            <details key={name}>
              <summary>
                {name} <span class="soft">{plural(versions.length, "version")}</span>
              </summary>
              <List rows={versions} />
            </details>
          ))}
        </section>
      )}
      {shown.length > 0 && (
        <section>
          <h2>By run, newest first</h2>
          <List rows={shown} />
        </section>
      )}
    </div>
  );
}

function List({ rows }: { rows: Row[] }) {
  return (
    <div class="scroll">
      <table class="list">
        <thead>
          <tr>
            <th>artifact</th>
            <th>kind</th>
            <th class="number">size</th>
            <th>run</th>
            <th>experiment</th>
            <th>logged</th>
            <th>lineage</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ run_id, run, experiment, artifact }) => (
            <tr key={run_id + artifact.path}>
              <td>
                <a href={url(`/api/runs/${run_id}/files/${artifact.path.split("/").map(encodeURIComponent).join("/")}`)} download>
                  {artifact.path}
                </a>
                {artifact.name && (
                  <span class="soft">
                    {" "}
                    {artifact.name}:v{artifact.version}
                  </span>
                )}
              </td>
              <td>{artifact.kind}</td>
              <td class="number">{bytes(artifact.size)}</td>
              <td>
                <Link to={`/run/${run_id}/artifacts`}>{run}</Link>
              </td>
              <td class="soft">{experiment}</td>
              <td class="soft">{ago(artifact.created_at)}</td>
              <td>
                <Link to={`/lineage/${run_id}`}>graph</Link>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
