import type { Schemas } from "../api/client";
import { ago } from "../parts/format";
import { Link } from "../parts/Link";

const LOOKS = { info: "--soft", warning: "--warn", error: "--bad" };

/** Alerts, newest first. */
export function Alerts({ alerts }: { alerts: Schemas["Alert"][] }) {
  return (
    <table class="list">
      <tbody>
        {alerts.map((one) => (
          <tr key={one.id}>
            <td style={{ color: `var(${LOOKS[one.level]})` }}>{one.level}</td>
            <td>
              <b>{one.title}</b> {one.text}
            </td>
            <td>
              <Link to={`/run/${one.run_id}`}>{one.run}</Link> <span class="soft">{one.experiment}</span>
            </td>
            <td class="soft">{one.rule ? `rule ${one.rule}` : ""}</td>
            <td class="soft">{ago(one.time)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
