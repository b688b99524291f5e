/** What changes on the server, as it happens: one stream of events a view, closed while the tab is hidden. */
import { signal } from "@preact/signals";
import { query, url, type Schemas } from "./client";
import { toast } from "../parts/toast";
import { go } from "../state/url";

export interface ChangedRuns {
  ids: string[];
  columns: Record<string, unknown[]>;
  gone: string[];
}

export interface LiveQuery {
  where?: string | null;
  experiment?: string | null;
  columns: string[];
}

export interface Handlers {
  runs?: (changed: ChangedRuns) => void;
  experiments?: (ids: string[]) => void;
  /** Everything may have changed. */
  reset?: () => void;
  alert?: (alert: Schemas["Alert"]) => void;
  problem?: (text: string) => void;
}

/** `idle`: this view shows nothing that changes. */
export type Connection = "open" | "waiting" | "paused" | "idle";
export const connection = signal<Connection>("idle");

/** Follow changes until the returned function is called. */
export function follow(what: LiveQuery, handlers: Handlers): () => void {
  let source: EventSource | null = null;
  let last: string | null = null;
  let retry = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function open(): void {
    if (document.hidden) return;
    connection.value = "waiting";
    const path = `/api/live${query({ where: what.where, experiment: what.experiment, columns: what.columns.join(",") })}`;
    source = new EventSource(url(path));
    const seen = (event: MessageEvent) => {
      if (event.lastEventId) last = event.lastEventId;
    };
    source.addEventListener("ready", (event) => {
      const first = last === null;
      seen(event);
      retry = 0;
      connection.value = "open";
      if (!first) handlers.reset?.(); // what was missed while the stream was closed
    });
    source.addEventListener("runs", (event) => {
      seen(event);
      handlers.runs?.(JSON.parse(event.data) as ChangedRuns);
    });
    source.addEventListener("experiments", (event) => {
      seen(event);
      handlers.experiments?.(JSON.parse(event.data) as string[]);
    });
    source.addEventListener("alert", (event) => {
      seen(event);
      const alert = JSON.parse(event.data) as Schemas["Alert"];
      toast(`${alert.run}: ${alert.title}`, {
        bad: alert.level === "error",
        action: { label: "show", run: () => go(`/run/${alert.run_id}`) },
      });
      handlers.alert?.(alert);
    });
    source.addEventListener("error", (event) => {
      // an event of the server, not of the connection: the filter is not valid, or the store cannot be read
      if (event instanceof MessageEvent) handlers.problem?.(String(event.data));
    });
    source.addEventListener("reset", (event) => {
      seen(event);
      handlers.reset?.();
    });
    source.onerror = () => {
      connection.value = "waiting";
      if (source?.readyState === EventSource.CLOSED) {
        clearTimeout(timer);
        timer = setTimeout(open, Math.min(1000 * 2 ** retry++, 15_000));
      }
    };
  }

  function close(): void {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function visibility(): void {
    if (document.hidden) {
      close();
      connection.value = "paused";
    } else if (source === null) open();
  }

  document.addEventListener("visibilitychange", visibility);
  open();
  return () => {
    document.removeEventListener("visibilitychange", visibility);
    close();
    connection.value = "idle";
  };
}
