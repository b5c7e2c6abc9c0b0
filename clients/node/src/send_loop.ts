/** Sends what is due, one run at a time, and plans the next run. */
export class SendLoop {
  readonly #sendDue: () => Promise<boolean>;
  readonly #failed: (error: unknown) => void;
  readonly #delay: (full: boolean) => number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #sending = false;
  #again = false; // a run was requested during one
  #closed = false;

  /**
   * @param sendDue returns whether the socket accepted everything that is due
   * @param failed gets what `sendDue` throws
   * @param delay returns the milliseconds to the next run, if any; `full`: the socket refused something
   */
  constructor(
    sendDue: () => Promise<boolean>,
    failed: (error: unknown) => void,
    delay: (full: boolean) => number | undefined,
  ) {
    this.#sendDue = sendDue;
    this.#failed = failed;
    this.#delay = delay;
  }

  /** Send what is due. During a run, ask for another one after it. */
  run(): void {
    void this.#run();
  }

  /** End: no run begins later. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    this.#again = true;
    if (this.#sending) return;
    this.#sending = true;
    let full = false;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        full = !(await this.#sendDue());
      }
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#sending = false;
    }
    clearTimeout(this.#timer);
    const delay = this.#closed ? undefined : this.#delay(full);
    if (delay !== undefined) this.#timer = setTimeout(() => this.run(), Math.ceil(Math.max(0, delay)));
  }
}
