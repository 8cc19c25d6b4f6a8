/** Tests that take long: `./cgraph-db test --full` runs them, CI does not and says so by their names. */
export const FULL = process.env["CGRAPH_TEST_FULL"] === "1";
/** Ends such a test's name. */
export const LONG = FULL ? "" : " (skipped: a long drill, ./cgraph-db test --full)";
