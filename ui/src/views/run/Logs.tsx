import { AnsiUp } from "ansi_up";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get, query, url, type Schemas } from "../../api/client";
import { bytes } from "../../parts/format";
import { failed } from "../../parts/toast";
import type { RunRecord } from "../../api/types";

type Part = Schemas["LogPart"];
const PIECE = 128 * 1024;

/** What the run printed: the end first, earlier parts on demand, so that a gigabyte is no burden. */
export function Logs({ run, tick }: { run: RunRecord; tick: number }) {
  const [part, setPart] = useState<Part | null>(null);
  const [find, setFind] = useState("");
  const [stay, setStay] = useState(true);
  const end = useRef<HTMLDivElement>(null);
  const path = `/api/runs/${run.id}/log`;

  useEffect(() => {
    const known = part?.end ?? null;
    const from = known === null ? { start: -PIECE, length: PIECE } : { start: known, length: PIECE };
    get<Part>(`${path}${query(from)}`).then((next) => {
      setPart((old) => (old === null || known === null ? next : { ...next, text: old.text + next.text, start: old.start }));
    }, failed);
  }, [run.id, tick]);
  useEffect(() => {
    if (stay) end.current?.scrollIntoView({ block: "end" });
  }, [part?.end]);

  async function earlier(): Promise<void> {
    if (!part) return;
    const start = Math.max(part.start - PIECE, 0);
    const more = await get<Part>(`${path}${query({ start, length: part.start - start })}`);
    setStay(false);
    setPart({ ...part, text: more.text + part.text, start });
  }

  const lines = useMemo(() => {
    const all = (part?.text ?? "").split("\n").map((line) => line.slice(line.lastIndexOf("\r", line.length - 2) + 1));
    const wanted = find.toLowerCase();
    return wanted ? all.filter((line) => line.toLowerCase().includes(wanted)) : all;
  }, [part, find]);
  const html = useMemo(() => {
    const ansi = new AnsiUp();
    ansi.use_classes = true;
    return ansi.ansi_to_html(lines.join("\n"));
  }, [lines]);

  if (part === null) return null;
  if (!part.size) return <p class="soft centre">No output was captured.</p>;
  return (
    <div class="logs">
      <div class="bar">
        <input type="search" aria-label="find in the output" placeholder="find" value={find} onInput={(event) => setFind(event.currentTarget.value)} />
        {find && <span class="soft">{lines.length} lines</span>}
        <label>
          <input type="checkbox" checked={stay} onChange={() => setStay(!stay)} /> stay at the end
        </label>
        <span class="soft push">
          {bytes(part.end - part.start)} of {bytes(part.size)}
        </span>
        {part.start > 0 && (
          <button type="button" onClick={() => void earlier().catch(failed)}>
            earlier
          </button>
        )}
        <a class="button" href={url(`/api/runs/${run.id}/files/output.log`)} download>
          whole file
        </a>
      </div>
      <pre class="output" dangerouslySetInnerHTML={{ __html: html }} />
      <div ref={end} />
    </div>
  );
}
