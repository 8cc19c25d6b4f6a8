/** Who is mailed of alerts: a mail server without TLS that Alertmanager in a container reaches. */
import { type Socket, createServer } from "node:net";
import type { AddressInfo } from "node:net";

export interface Mail {
  readonly from: string;
  readonly to: readonly string[];
  /** Headers and body as they came. */
  readonly text: string;
}

export interface MailReceiver {
  /** HOST:PORT. */
  readonly host: string;
  readonly mails: readonly Mail[];
  readonly close: () => void;
}

const address = (line: string): string => /<([^>]*)>/.exec(line)?.[1] ?? "";

/** One conversation of RFC 5321, with the few commands that every client uses. */
function converse(socket: Socket, keep: (mail: Mail) => void): void {
  let [from, unread, inData] = ["", "", false];
  let to: string[] = [];
  const say = (line: string): boolean => socket.write(`${line}\r\n`);
  const command = (line: string): void => {
    const verb = line.slice(0, 4).toUpperCase();
    if (verb === "MAIL") [from, to] = [address(line), []];
    if (verb === "RCPT") to.push(address(line));
    if (verb === "DATA") inData = true;
    if (verb === "QUIT") socket.end("221 bye\r\n");
    else say(verb === "DATA" ? "354 go on" : "250 ok");
  };
  socket.setEncoding("utf8").on("error", () => undefined);
  socket.on("data", (chunk: string) => {
    unread += chunk;
    for (;;) {
      const end = unread.indexOf(inData ? "\r\n.\r\n" : "\r\n");
      if (end < 0) return;
      const part = unread.slice(0, end);
      unread = unread.slice(end + (inData ? 5 : 2));
      if (!inData) {
        command(part);
        continue;
      }
      inData = false;
      keep({ from, to, text: part });
      say("250 taken");
    }
  });
  say("220 mail");
}

/** Listens on an address of the host that containers reach: their network's gateway. */
export async function mailReceiver(host: string): Promise<MailReceiver> {
  const mails: Mail[] = [];
  const server = createServer((socket) => converse(socket, (mail) => mails.push(mail)));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return { host: `${host}:${(server.address() as AddressInfo).port}`, mails, close: () => server.close() };
}
