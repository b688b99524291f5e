import { useEffect, useState } from "preact/hooks";
import { call, get, post, type Schemas } from "../api/client";
import { ago } from "../parts/format";
import { Link } from "../parts/Link";
import { failed, toast } from "../parts/toast";
import { go } from "../state/url";

type Document = Schemas["Document"];

export const FIRST = `# A new report

Write Markdown here. Blocks between \`\`\`runbase fences are live:

\`\`\`runbase
curves: val/loss
where: status = 'COMPLETED'
limit: 20
\`\`\`

\`\`\`runbase
table: name, status, seconds
sort: started_at desc
limit: 10
\`\`\`

\`\`\`runbase
sql: select experiment, count(*) as runs from run_summary group by experiment
\`\`\`
`;

/** Reports: Markdown with live curves, tables and queries. */
export function Reports() {
  const [reports, setReports] = useState<Document[] | null>(null);
  const load = () => {
    get<Document[]>("/api/documents?kind=report").then(setReports, failed);
  };
  useEffect(load, []);
  if (!reports) return null;
  async function create(): Promise<void> {
    const made = await post<Document>("/api/documents", { kind: "report", name: "A new report", body: { text: FIRST } });
    go(`/report/${made.id}?edit=1`);
  }
  return (
    <div class="page">
      <header class="top">
        <h1>Reports</h1>
        <button type="button" class="accent push" onClick={() => void create().catch(failed)}>
          new report
        </button>
      </header>
      {reports.length === 0 && <p class="soft centre">No report yet. A report is text with live curves, tables and queries.</p>}
      <table class="list">
        <tbody>
          {reports.map((one) => (
            <tr key={one.id}>
              <td>
                <Link to={`/report/${one.id}`}>{one.name}</Link>
              </td>
              <td class="soft">{one.owner}</td>
              <td class="soft">version {one.version}</td>
              <td class="soft">changed {ago(one.updated_at)}</td>
              <td>
                <button
                  type="button"
                  class="plain"
                  onClick={() => {
                    if (!window.confirm(`Remove the report “${one.name}”?`)) return;
                    call("DELETE", `/api/documents/${one.id}`).then(() => {
                      toast(`report “${one.name}” removed`);
                      load();
                    }, failed);
                  }}
                >
                  remove
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
