import { url } from "../../api/client";
import { bytes, moment, number, plural } from "../../parts/format";
import { copy } from "../../parts/toast";
import type { RunRecord } from "../../api/types";

/** The artifacts of a run, as a tree of files with sizes and digests. */
export function Files({ run, media }: { run: RunRecord; media: Set<string> }) {
  const artifacts = (run.artifacts ?? []).filter((one) => !media.has(one.path));
  const uses = run.uses ?? [];
  const own = uses.filter((one) => one.run_id === run.id);
  const total = artifacts.reduce((sum, one) => sum + one.size, 0);
  return (
    <div>
      {artifacts.length === 0 ? (
        <p class="soft centre">This run logged no artifact.</p>
      ) : (
        <div class="scroll">
          <table class="list">
            <thead>
              <tr>
                <th>path</th>
                <th>kind</th>
                <th class="number">size</th>
                <th class="number">step</th>
                <th>version</th>
                <th>logged</th>
                <th>SHA-256</th>
              </tr>
            </thead>
            <tbody>
              {artifacts.map((one) => (
                <tr key={one.path}>
                  <td>
                    {one.removed_at ? (
                      <s title="its bytes were removed">{one.path}</s>
                    ) : (
                      <a href={url(`/api/runs/${run.id}/files/${one.path.split("/").map(encodeURIComponent).join("/")}`)} download>
                        {one.path}
                      </a>
                    )}
                    {run.checkpoint === one.path && <span class="badge">checkpoint</span>}
                  </td>
                  <td>{one.kind}</td>
                  <td class="number">{bytes(one.size)}</td>
                  <td class="number">{one.step === null || one.step === undefined ? "" : number(one.step)}</td>
                  <td>{one.name ? `${one.name}:v${one.version}` : ""}</td>
                  <td class="soft">{moment(one.created_at)}</td>
                  <td>
                    {one.sha256 && (
                      <button type="button" class="plain" title="copy" onClick={() => void copy(one.sha256!, "SHA-256")}>
                        <code>{one.sha256.slice(0, 10)}</code>
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
            <tfoot>
              <tr>
                <td class="soft">{plural(artifacts.length, "artifact")}</td>
                <td />
                <td class="number">{bytes(total)}</td>
              </tr>
            </tfoot>
          </table>
        </div>
      )}
      {own.length > 0 && (
        <>
          <h2>Uses artifacts of other runs</h2>
          <ul>
            {own.map((one) => (
              <li key={one.owner_id + one.path}>
                <a href={url(`/run/${one.owner_id}`)}>{one.owner_id.slice(0, 8)}</a> / {one.path}
              </li>
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
