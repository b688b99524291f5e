import { render } from "preact";
import { App } from "./App";
import { openShared } from "./parts/share";
import "./styles/base.css";
import "./styles/views.css";

void openShared().finally(() => render(<App />, document.body));
