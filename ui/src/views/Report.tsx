import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError, call, get, type Schemas } from "../api/client";
import { save } from "../charts/export";
import { ago, plural } from "../parts/format";
import { Markdown } from "../parts/Markdown";
import { shareOnly } from "../parts/share";
import { failed, toast } from "../parts/toast";
import { param, setParams } from "../state/url";
import { Block, offline, runsOf } from "./report/Block";

type Document = Schemas["Document"];

/** Text and live blocks, in order. */
export function parts(text: string): { kind: "text" | "block"; text: string }[] {
  const found: { kind: "text" | "block"; text: string }[] = [];
  const fence = /^```runbase[^\n]*\n([\s\S]*?)^```[^\n]*$/gm;
  let place = 0;
  for (const match of text.matchAll(fence)) {
    if (match.index > place) found.push({ kind: "text", text: text.slice(place, match.index) });
    found.push({ kind: "block", text: match[1] ?? "" });
    place = match.index + match[0].length;
  }
  if (place < text.length) found.push({ kind: "text", text: text.slice(place) });
  return found;
}

function titleOf(text: string): string {
  return /^#+\s+(.+)$/m.exec(text)?.[1]?.trim() ?? "report";
}

/** A report: read it, or write it with its result beside it. */
export function Report({ report = "" }: { report?: string }) {
  const [document, setDocument] = useState<Document | null>(null);
  const [text, setText] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [theirs, setTheirs] = useState<Document | null>(null);
  const body = useRef<HTMLDivElement>(null);
  const editing = param("edit") === "1";

  useEffect(() => {
    get<Document>(`/api/documents/${report}`).then(
      (found) => {
        setDocument(found);
        setText(textOf(found));
      },
      (error: Error) => setProblem(error.message),
    );
  }, [report]);
  const pieces = useMemo(() => parts(text), [text]);
  if (problem) return <p class="nothing">{problem}</p>;
  if (!document) return null;
  const changed = text !== textOf(document);

  async function keep(): Promise<void> {
    if (!document) return;
    const { kind, experiment, version } = document;
    try {
      const next = await call<Document>("PUT", `/api/documents/${document.id}`, { kind, experiment, version, name: titleOf(text), body: { text } });
      setDocument(next);
      setTheirs(null);
      toast(`version ${next.version} saved`);
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 409) setTheirs(await get<Document>(`/api/documents/${document.id}`));
      else failed(error);
    }
  }

  async function shareReport(): Promise<void> {
    const found = await Promise.all(pieces.filter((piece) => piece.kind === "block").map((piece) => runsOf(piece.text)));
    const runs = [...new Set(found.flat())];
    const title = titleOf(text);
    await shareOnly(runs, [document!.id], title, `this report and ${plural(runs.length, "run")}`);
  }

  return (
    <div class="report">
      <header class="top">
        <h1>{titleOf(text)}</h1>
        <span class="soft">
          {document.owner}, version {document.version}, {ago(document.updated_at)}
        </span>
        <span class="push row">
          {changed && (
            <button type="button" class="accent" onClick={() => void keep()}>
              save <kbd>Ctrl S</kbd>
            </button>
          )}
          <button type="button" aria-pressed={editing} onClick={() => setParams({ edit: editing ? null : "1" })}>
            {editing ? "read" : "edit"}
          </button>
          <button type="button" onClick={() => body.current && save(`${titleOf(text)}.html`, offline(titleOf(text), body.current), "text/html")}>
            offline HTML
          </button>
          <button type="button" title="a link that reads this report and the runs that it shows now, for 30 days" onClick={() => void shareReport().catch(failed)}>
            share
          </button>
          <button type="button" onClick={() => save(`${titleOf(text)}.md`, text, "text/markdown")}>
            Markdown
          </button>
        </span>
      </header>
      {theirs && (
        <div class="away" role="alert">
          Somebody saved version {theirs.version} meanwhile.{" "}
          <button
            type="button"
            onClick={() => {
              setDocument(theirs);
              setText(textOf(theirs));
              setTheirs(null);
            }}
          >
            take theirs
          </button>{" "}
          <button
            type="button"
            onClick={() => {
              setDocument({ ...document, version: theirs.version });
              setTheirs(null);
            }}
          >
            keep mine, and save again
          </button>
        </div>
      )}
      <div class={editing ? "report-body editing" : "report-body"}>
        {editing && (
          <textarea
            class="code"
            aria-label="text of the report, in Markdown"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
                event.preventDefault();
                void keep();
              }
            }}
          />
        )}
        <div class="paper" ref={body}>
          {pieces.map((piece, place) => (piece.kind === "text" ? <Markdown key={place} text={piece.text} /> : <Block key={`${place}${piece.text}`} text={piece.text} />))}
        </div>
      </div>
    </div>
  );
}

function textOf(document: Document): string {
  return String((document.body as { text?: unknown }).text ?? "");
}
