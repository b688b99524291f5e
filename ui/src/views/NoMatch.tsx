import { useEffect, useState } from "preact/hooks";
import { post, type Schemas } from "../api/client";
import { plural } from "../parts/format";
import { setParams } from "../state/url";

/** Says which part of a filter removes everything. */
export function NoMatch({ where, experiment }: { where: string; experiment: string | null }) {
  const [counts, setCounts] = useState<{ clause: string; total: number }[]>([]);
  useEffect(() => {
    const clauses = where.split(/\s+and\s+/i);
    if (clauses.length < 2) return;
    let alive = true;
    void Promise.all(
      clauses.map(async (clause) => {
        const body = { where: clause, experiment, columns: ["id"], limit: 1, total: true };
        const { total } = await post<Schemas["TableAnswer"]>("/api/table", body);
        return { clause, total: total ?? 0 };
      }),
    ).then((found) => alive && setCounts(found), () => undefined);
    return () => {
      alive = false;
    };
  }, [where, experiment]);
  return (
    <div class="nothing">
      <h2>No run matches</h2>
      <p>
        <code>{where}</code>
      </p>
      {counts.length > 0 && (
        <ul>
          {counts.map(({ clause, total }) => (
            <li key={clause}>
              <code>{clause}</code> alone: {plural(total, "run")}{" "}
              {total === 0 && (
                <button
                  type="button"
                  onClick={() =>
                    setParams({ q: counts.filter((one) => one.clause !== clause).map((one) => one.clause).join(" and ") })
                  }
                >
                  remove this part
                </button>
              )}
            </li>
          ))}
        </ul>
      )}
      <button type="button" onClick={() => setParams({ q: null })}>
        remove the filter
      </button>
    </div>
  );
}
