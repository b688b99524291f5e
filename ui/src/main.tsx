import { render } from "preact";
import { App } from "./App";
import { openShared } from "./parts/share";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/runs.css";
import "./styles/parts.css";
import "./styles/run.css";
import "./styles/sql.css";
import "./styles/compare.css";
import "./styles/others.css";

void openShared().finally(() => render(<App />, document.body));
