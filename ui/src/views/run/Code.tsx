import { useEffect, useState } from "preact/hooks";
import { text, url } from "../../api/client";
import { value } from "../../parts/format";
import { copy } from "../../parts/toast";
import type { RunRecord } from "../../api/types";

/** The code: commit and changes, command line, environment, packages. */
export function Code({ run }: { run: RunRecord }) {
  const [diff, setDiff] = useState<string | null>(null);
  const [find, setFind] = useState("");
  const git = run.git as Record<string, unknown>;
  useEffect(() => {
    setDiff(null);
    if (git.commit && git.dirty) text(`/api/runs/${run.id}/files/git.diff`).then(setDiff, () => undefined);
  }, [run.id]);
  const args = run.args as Record<string, unknown>;
  const command = Array.isArray(args.argv) ? (args.argv as string[]).map(quoted).join(" ") : null;
  const packages = Object.entries(((run.system as Record<string, unknown>).packages ?? {}) as Record<string, string>);
  const shown = packages.filter(([name]) => name.toLowerCase().includes(find.toLowerCase()));
  return (
    <div>
      {command && (
        <section>
          <h2>
            Command{" "}
            <button type="button" class="plain" onClick={() => void copy(`cd ${quoted(String(args.cwd ?? "."))}\n${command}`, "Command")}>
              copy
            </button>
          </h2>
          <pre>{args.cwd ? `cd ${quoted(String(args.cwd))}\n${command}` : command}</pre>
          <h3>
            Run it again{" "}
            <button type="button" class="plain" onClick={() => void copy(`runbase reproduce ${run.id} --run`, "Command")}>
              copy
            </button>
          </h3>
          <pre>{`runbase reproduce ${quoted(run.name)} --run`}</pre>
        </section>
      )}
      <section>
        <h2>Git</h2>
        {!git.commit && <p class="soft">The script was not in a git repository.</p>}
        {git.commit !== undefined && (
          <table class="list pairs">
            <tbody>
              {Object.entries(git).map(([key, one]) => (
                <tr key={key}>
                  <th scope="row">{key}</th>
                  <td class="wrap">{value(one)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        {diff && (
          <>
            <h3>
              Changes{" "}
              <a class="soft" href={url(`/api/runs/${run.id}/files/git.diff`)} download>
                git.diff
              </a>
            </h3>
            <Diff text={diff} />
          </>
        )}
      </section>
      <section>
        <h2>Environment</h2>
        <table class="list pairs">
          <tbody>
            {Object.entries(run.env).map(([key, one]) => (
              <tr key={key}>
                <th scope="row">{key}</th>
                <td class="wrap">{one}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {packages.length > 0 && (
        <section>
          <h2>
            Packages <span class="soft">{packages.length}</span>{" "}
            <button type="button" class="plain" onClick={() => void copy(packages.map(([name, version]) => `${name}==${version}`).join("\n"), "Requirements")}>
              copy as requirements
            </button>
          </h2>
          <input type="search" aria-label="find a package" placeholder="find" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
          <div class="packages">
            {shown.map(([name, version]) => (
              <span key={name}>
                {name} <span class="soft">{version}</span>
              </span>
            ))}
          </div>
        </section>
      )}
    </div>
  );
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A patch with its added and removed lines coloured. */
export function Diff({ text: patch }: { text: string }) {
  const kind = (line: string) => (/^(\+\+\+|---|diff|index)/.test(line) ? "soft" : line[0] === "+" ? "added" : line[0] === "-" ? "removed" : line.startsWith("@@") ? "place" : "");
  return (
    <pre class="diff">
      {patch.split("\n").map((line, place) => (
        <div key={place} class={kind(line)}>
          {line || " "}
        </div>
      ))}
    </pre>
  );
}
