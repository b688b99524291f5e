import { useEffect, useState } from "preact/hooks";
import { text } from "../../api/client";
import { Diff } from "../run/Code";
import type { RunRecord } from "../../api/types";

/** Commits, command lines and packages that differ, and the uncommitted changes of each run. */
export function CodeDiff({ runs }: { runs: RunRecord[] }) {
  const [diffs, setDiffs] = useState<Record<string, string>>({});
  useEffect(() => {
    for (const run of runs) {
      const git = run.git as Record<string, unknown>;
      if (git.commit && git.dirty) {
        text(`/api/runs/${run.id}/files/git.diff`).then((found) => setDiffs((old) => ({ ...old, [run.id]: found })), () => undefined);
      }
    }
  }, [runs.map((run) => run.id).join()]);
  const packagesOf = (run: RunRecord) => ((run.system as Record<string, unknown>).packages ?? {}) as Record<string, string>;
  const names = [...new Set(runs.flatMap((run) => Object.keys(packagesOf(run))))].sort();
  const differing = names.filter((name) => new Set(runs.map((run) => packagesOf(run)[name] ?? "")).size > 1);
  const argv = (run: RunRecord) => ((run.args as Record<string, unknown>).argv as string[] | undefined)?.join(" ") ?? "";
  return (
    <div>
      <h2>Commits and commands</h2>
      <table class="list">
        <thead>
          <tr>
            <th>run</th>
            <th>commit</th>
            <th>branch</th>
            <th>command</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => {
            const git = run.git as Record<string, unknown>;
            return (
              <tr key={run.id}>
                <td>{run.name}</td>
                <td>
                  <code>{String(git.commit ?? "–").slice(0, 10)}</code>
                  {git.dirty ? " + changes" : ""}
                </td>
                <td>{String(git.branch ?? "")}</td>
                <td class="wrap">
                  <code>{argv(run)}</code>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <h2>
        Packages that differ <span class="soft">{differing.length}</span>
      </h2>
      {differing.length === 0 ? (
        <p class="soft">none</p>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th />
                {runs.map((run) => (
                  <th key={run.id}>{run.name}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {differing.map((name) => (
                <tr key={name}>
                  <th scope="row">{name}</th>
                  {runs.map((run) => (
                    <td key={run.id}>{packagesOf(run)[name] ?? "–"}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {runs.map((run) =>
        diffs[run.id] ? (
          <details key={run.id}>
            <summary>uncommitted changes of {run.name}</summary>
            <Diff text={diffs[run.id]!} />
          </details>
        ) : null,
      )}
    </div>
  );
}
