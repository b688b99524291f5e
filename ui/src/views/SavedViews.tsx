import { useEffect, useState } from "preact/hooks";
import { ApiError, call, get, post, query, type Schemas } from "../api/client";
import { Popover } from "../parts/Popover";
import { failed, toast } from "../parts/toast";
import { go, params, path } from "../state/url";

type Document = Schemas["Document"];

/** Views that were saved for this experiment: the query of the URL under a name. */
export function SavedViews({ experiment }: { experiment: string | null }) {
  const [views, setViews] = useState<Document[]>([]);
  const load = () => {
    get<Document[]>(`/api/documents${query({ kind: "view", experiment })}`).then(setViews, () => undefined);
  };
  useEffect(load, [experiment]);

  async function save(): Promise<void> {
    const name = window.prompt("Name of this view:");
    if (!name) return;
    const body = { kind: "view", name, experiment, body: { path: path.peek(), query: params.peek().toString() } };
    const same = views.find((one) => one.name === name);
    try {
      if (same) await call("PUT", `/api/documents/${same.id}`, { ...body, version: same.version });
      else await post("/api/documents", body);
      toast(`view “${name}” saved`);
      load();
    } catch (error) {
      if (error instanceof ApiError && error.problem.status === 409) {
        toast(`somebody changed “${name}” meanwhile; open it, or save under another name`, { bad: true });
        load();
      } else failed(error);
    }
  }

  return (
    <Popover label={views.length ? `Views ${views.length}` : "Views"} align="right">
      {(close) => (
        <div class="menu">
          <button type="button" onClick={() => (void save(), close())}>
            Save this view …
          </button>
          {views.length > 0 && <hr />}
          {views.map((view) => (
            <div class="row" key={view.id}>
              <button
                type="button"
                onClick={() => {
                  const { path: to, query: found } = view.body as { path: string; query: string };
                  go(found ? `${to}?${found}` : to);
                  close();
                }}
              >
                {view.name} <span class="soft">{view.owner}</span>
              </button>
              <button
                type="button"
                class="plain"
                aria-label={`remove the view ${view.name}`}
                onClick={() => call("DELETE", `/api/documents/${view.id}`).then(load, failed)}
              >
                ×
              </button>
            </div>
          ))}
        </div>
      )}
    </Popover>
  );
}
