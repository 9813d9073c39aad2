import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from "smtp-server";

export interface ReceivedMail {
  messageId: string;
  orderId: string;
  recipients: string[];
}

/** A mail server that keeps what it accepts. */
export class MailSink {
  readonly mails: ReceivedMail[] = [];
  /** Whether it asks for every tenth mail to be sent again later. */
  isBusy = true;
  refused = 0;
  /** Mails that came and are not answered yet. */
  waiting = 0;
  #asked = 0;
  #answers = Promise.resolve();
  readonly #server = new SMTPServer({
    disabledCommands: ["STARTTLS", "AUTH"],
    onData: (stream, session, done) => {
      this.#take(stream, session).then(() => done(), done);
    },
  });

  /** Resolves to the sink's address. */
  async listen(): Promise<string> {
    // A client that is killed in the middle of a mail.
    this.#server.on("error", () => {});
    const { server } = this.#server;
    this.#server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  /** Answers no mail until the function that it returns is called. */
  hold(): () => void {
    let release = () => {};
    this.#answers = new Promise((resolve) => (release = resolve));
    return () => release();
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #take(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<void> {
    const mail = await text(stream);
    this.waiting += 1;
    await this.#answers;
    this.waiting -= 1;
    this.#asked += 1;
    if (this.isBusy && this.#asked % 10 === 0) {
      this.refused += 1;
      throw Object.assign(new Error("busy, try again later"), { responseCode: 451 });
    }
    this.mails.push({
      messageId: header(mail, "Message-ID"),
      orderId: header(mail, "X-Order-Id"),
      recipients: session.envelope.rcptTo.map(({ address }) => address),
    });
  }
}

function header(mail: string, name: string): string {
  const value = new RegExp(`^${name}: (.*)\r$`, "im").exec(mail)?.[1];
  if (value === undefined) throw new Error(`A mail came without ${name}.`);
  return value;
}
