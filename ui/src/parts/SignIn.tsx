import { useEffect, useRef, useState } from "preact/hooks";
import { post } from "../api/client";

/** Asks for name and password, or for a token. */
export function SignIn() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} class="signin" aria-labelledby="signin-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const data = new FormData(event.currentTarget);
          post("/api/session", { name: data.get("name"), password: data.get("password") }).then(
            () => window.location.reload(),
            (error: Error) => setProblem(error.message),
          );
        }}
      >
        <h2 id="signin-title">Sign in</h2>
        <label>
          Name <input name="name" autocomplete="username" autofocus />
        </label>
        <label>
          Password or token <input name="password" type="password" autocomplete="current-password" required />
        </label>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        <button class="accent">Sign in</button>
      </form>
    </dialog>
  );
}
