import { useEffect, useState } from "preact/hooks";
import { call, get, post, type Schemas } from "../../api/client";
import { ago } from "../../parts/format";
import { failed, toast } from "../../parts/toast";
import { Alerts } from "../Alerts";

type Rule = Schemas["ShownRule"];

const EXAMPLES: [string, string][] = [
  ["lost", "status = 'LOST'"],
  ["NaN", "metrics.loss.nans > 0"],
  ["no progress for 30 minutes", "status = 'RUNNING' and last_point_at < ago('30 min')"],
];

/** Rules that raise alerts, where they are delivered, and the latest alerts. */
export function Rules({ mayWrite }: { mayWrite: boolean }) {
  const [rules, setRules] = useState<Rule[]>([]);
  const [alerts, setAlerts] = useState<Schemas["Alert"][]>([]);
  const [deliveries, setDeliveries] = useState<Schemas["AlertDelivery"][]>([]);
  const [where, setWhere] = useState("");
  const [secret, setSecret] = useState<string | null>(null);
  const load = () => {
    get<Rule[]>("/api/alert-rules").then(setRules, failed);
    get<Schemas["Alert"][]>("/api/alerts?limit=30").then(setAlerts, failed);
    get<Schemas["AlertDelivery"][]>("/api/alert-deliveries?limit=30").then(setDeliveries, failed);
  };
  useEffect(load, []);
  return (
    <>
      {mayWrite && (
        <>
          <h2>New rule</h2>
          <form
            class="rule"
            onSubmit={(event) => {
              event.preventDefault();
              const form = event.currentTarget;
              const data = new FormData(form);
              const targets = String(data.get("targets")).split(/[\s,]+/).filter(Boolean);
              const body = { name: data.get("name"), where, level: data.get("level"), experiment: data.get("experiment") || null, to: targets };
              post<Schemas["MadeRule"]>("/api/alert-rules", body).then((made) => {
                toast(`rule “${String(data.get("name"))}” is on`);
                setSecret(made.secret ?? null);
                form.reset();
                setWhere("");
                load();
              }, failed);
            }}
          >
            <input name="name" required placeholder="name" aria-label="name of the rule" />
            <input class="wide-field" required placeholder="where: a filter over runs" aria-label="where: a filter over runs" value={where} onInput={(event) => setWhere(event.currentTarget.value)} />
            <input name="experiment" placeholder="experiment (all)" aria-label="experiment" />
            <select name="level" aria-label="level">
              <option>warning</option>
              <option>error</option>
              <option>info</option>
            </select>
            <input
              name="targets"
              class="wide-field"
              placeholder="to: webhook:https://…  slack:https://…  mailto:ada@lab.example  desktop"
              aria-label="targets"
            />
            <button class="accent">add</button>
          </form>
          <p class="soft">
            For example:{" "}
            {EXAMPLES.map(([label, text]) => (
              <button key={label} type="button" class="plain" onClick={() => setWhere(text)}>
                {label}
              </button>
            ))}
          </p>
          {secret && (
            <p>
              Webhooks of this rule are signed with <code>{secret}</code>. <span class="soft">It is shown this once.</span>
            </p>
          )}
        </>
      )}
      <h2>
        Rules <span class="soft">{rules.length}</span>
      </h2>
      <table class="list">
        <tbody>
          {rules.map((one) => (
            <tr key={one.id}>
              <td>{one.name}</td>
              <td>
                <code>{one.where}</code>
              </td>
              <td class="soft">{one.experiment ?? "all experiments"}</td>
              <td>{one.level}</td>
              <td class="wrap">{one.to.join(", ")}</td>
              <td>
                {mayWrite && (
                  <button type="button" class="plain" onClick={() => call("DELETE", `/api/alert-rules/${one.id}`).then(load, failed)}>
                    remove
                  </button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <h2>Latest alerts</h2>
      {alerts.length === 0 && <p class="soft">none</p>}
      <Alerts alerts={alerts} />
      {deliveries.length > 0 && (
        <>
          <h2>Deliveries</h2>
          <table class="list">
            <tbody>
              {deliveries.map((one) => (
                <tr key={one.id}>
                  <td>{one.title}</td>
                  <td>{one.run}</td>
                  <td class="wrap">{one.target}</td>
                  <td>{one.status}</td>
                  <td class="soft">{one.attempts} tries</td>
                  <td class="soft">{ago(one.created_at)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </>
  );
}
