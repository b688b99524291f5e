import { useEffect, useState } from "preact/hooks";
import { call, get, post, type Schemas } from "../../api/client";
import { ago, plural } from "../../parts/format";
import { failed, toast } from "../../parts/toast";

type User = Schemas["User"];
const ROLES = ["none", "viewer", "editor", "admin"] as const;

/** The people who may sign in, with their roles. */
export function Users() {
  const [users, setUsers] = useState<User[]>([]);
  const load = () => {
    get<User[]>("/api/users").then(setUsers, failed);
  };
  useEffect(load, []);
  const change = (user: User, body: Record<string, unknown>) => call("PATCH", `/api/users/${user.id}`, body).then(load, failed);
  return (
    <>
      <h2>New user</h2>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          const form = event.currentTarget;
          const data = new FormData(form);
          post<User>("/api/users", { name: data.get("name"), role: data.get("role"), password: data.get("password") || null }).then((made) => {
            toast(`${made.name} can sign in`);
            form.reset();
            load();
          }, failed);
        }}
      >
        <input name="name" required placeholder="name" aria-label="name of the user" autocomplete="off" />
        <input name="password" type="password" placeholder="password" aria-label="password" autocomplete="new-password" />
        <select name="role" aria-label="role">
          {ROLES.map((role) => (
            <option key={role}>{role}</option>
          ))}
        </select>
        <button class="accent">add</button>
      </form>
      <p class="soft">
        viewer: reads. editor: also logs and changes. admin: everything. none: only what is granted on single experiments, with{" "}
        <code>runbase users grant</code>. Users sign in to a server that runs with <code>--auth users</code>.
      </p>
      <h2>
        Users <span class="soft">{users.length}</span>
      </h2>
      <table class="list">
        <tbody>
          {users.map((one) => (
            <tr key={one.id}>
              <td>{one.name}</td>
              <td>
                <select aria-label={`role of ${one.name}`} value={one.role} onChange={(event) => void change(one, { role: event.currentTarget.value })}>
                  {ROLES.map((role) => (
                    <option key={role}>{role}</option>
                  ))}
                </select>
              </td>
              <td class="soft">{Object.keys(one.grants).length ? plural(Object.keys(one.grants).length, "grant") : ""}</td>
              <td class="soft">{one.has_password ? "password" : one.subject ? "group's account" : "cannot sign in yet"}</td>
              <td class="soft">{one.signed_in_at ? `signed in ${ago(one.signed_in_at)}` : "never signed in"}</td>
              <td>
                <button
                  type="button"
                  class="plain"
                  onClick={() => {
                    if (window.confirm(`Remove ${one.name}? Their tokens end too; their runs stay.`)) call("DELETE", `/api/users/${one.id}`).then(load, failed);
                  }}
                >
                  remove
                </button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
