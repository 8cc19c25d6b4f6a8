/**
 * The AWS CLI as far as the way to a database needs it: one access host, and Session Manager's port forwarding, which here
 * leads to a port of this machine (FAKE_AWS_PORT). What it was asked is appended to FAKE_AWS_LOG. Run as a program.
 */
import { appendFileSync } from "node:fs";
import { connect, createServer } from "node:net";

const args = process.argv.slice(2);
const after = (flag: string): string => args[args.indexOf(flag) + 1] ?? "";
appendFileSync(process.env["FAKE_AWS_LOG"] ?? "/dev/null", `${args.join(" ")}\n`);

if (args[0] === "--version") console.log("aws-cli/2");
else if (args[1] === "describe-instances") {
  const instances = process.env["FAKE_AWS_NO_HOST"] ? [] : [{ InstanceId: "i-0123" }];
  console.log(JSON.stringify({ Reservations: [{ Instances: instances }] }));
} else if (args[1] === "start-session") {
  if (process.env["FAKE_AWS_NO_PLUGIN"]) {
    console.error("SessionManagerPlugin is not found. Please refer to SessionManager Documentation");
    process.exit(255);
  }
  const { localPortNumber } = JSON.parse(after("--parameters")) as { localPortNumber: [string] };
  createServer((client) => {
    const server = connect(Number(process.env["FAKE_AWS_PORT"]), "127.0.0.1");
    client.pipe(server).pipe(client);
    for (const socket of [client, server]) {
      socket.on("error", () => {
        client.destroy();
        server.destroy();
      });
    }
  }).listen(Number(localPortNumber[0]), "127.0.0.1", () => console.log("Waiting for connections..."));
} else {
  console.error(`An error occurred: ${args.slice(0, 2).join(" ")} is not known here`);
  process.exit(254);
}
