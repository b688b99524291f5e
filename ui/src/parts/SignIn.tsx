import { useEffect, useRef, useState } from "preact/hooks";
import { get, post, url, type Schemas } from "../api/client";

/** Asks for what the server wants: name and password, a token, or the provider of the group. */
export function SignIn() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [auth, setAuth] = useState<string | null>(null);
  const [token, setToken] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
    get<Schemas["SessionInfo"]>("/api/session").then(
      (found) => {
        setAuth(found.auth);
        setToken(found.auth === "tokens");
      },
      () => setAuth("tokens"),
    );
  }, []);
  return (
    <dialog ref={dialog} class="signin" aria-labelledby="signin-title" onCancel={(event) => event.preventDefault()}>
      <h2 id="signin-title">Sign in</h2>
      {auth === "link" ? (
        <p>Open the address that the server printed when it started. Its key works once; start the server again for a new one.</p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const data = new FormData(event.currentTarget);
            const name = String(data.get("name") ?? "");
            post("/api/session", { name, password: String(data.get("password")).trim() }).then(
              () => window.location.reload(),
              (error: Error) => setProblem(error.message),
            );
          }}
        >
          {auth === "oidc" && (
            <p>
              <a class="button" href={url("/api/session/oidc")}>
                with your group's account
              </a>
            </p>
          )}
          {!token && (
            <label>
              Name <input name="name" autocomplete="username" autofocus />
            </label>
          )}
          <label>
            {token ? "Token" : "Password"}{" "}
            <input name="password" type="password" autocomplete="current-password" required placeholder={token ? "rb_…" : ""} />
          </label>
          {problem && (
            <p class="problem" role="alert">
              {problem}
            </p>
          )}
          <div class="row">
            <button class="accent">Sign in</button>
            {auth !== "tokens" && (
              <button type="button" class="plain" onClick={() => setToken(!token)}>
                {token ? "with a name" : "with a token"}
              </button>
            )}
          </div>
        </form>
      )}
    </dialog>
  );
}
