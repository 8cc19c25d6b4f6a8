/** Names that are unique over all shards, and who has them: the global database's user_directory. */
import type pg from "pg";
import { TakenError } from "./errors.ts";

/** What is unique of a user. */
export interface UserNames {
  readonly username: string;
  readonly email: string;
  readonly walletAddress?: string | null;
}

interface Claim {
  readonly user_id: string;
  readonly username: string;
  readonly email: string;
  readonly wallet_address: string | null;
}

const FIELDS: Readonly<Record<string, TakenError["field"]>> = {
  user_directory_pkey: "user_id",
  idx_user_directory_username: "username",
  idx_user_directory_email: "email",
  idx_user_directory_wallet_address: "wallet_address",
};

/** Turns PostgreSQL's unique_violation into what is taken. */
function taken(error: unknown): never {
  const { code, constraint } = error as { code?: string; constraint?: string };
  const field = code === "23505" ? FIELDS[constraint ?? ""] : undefined;
  throw field === undefined ? error : new TakenError(field);
}

/** Whether PostgreSQL itself has said no: a connection that broke, or a server that shut down, leaves it open. */
const wasRefused = (error: unknown): boolean =>
  /^(?!08|57P|40003)[0-9A-Z]{5}$/.test(String((error as { code?: unknown }).code));

/**
 * Claims names in the global database before a user's row is written on its shard. Two databases do not commit together:
 * a claim is therefore confirmed after the row is there, and `settle` looks after claims that stayed unconfirmed.
 */
export class Directory {
  readonly #pool: pg.Pool;

  /** `pool`: of the global database (DATABASE_GLOBAL_URL). */
  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /**
   * Claims a new user's names, then has `insert` write the user's row, then confirms. Throws a TakenError where somebody has
   * one of the names. Where the row is refused the names are free again; where nobody knows (the connection broke) the
   * claim stays until `settle` looks.
   */
  async register<T>(userId: string, names: UserNames, insert: () => Promise<T>): Promise<T> {
    await this.#pool
      .query("INSERT INTO user_directory (user_id, username, email, wallet_address) VALUES ($1, $2, $3, $4)", [
        userId,
        names.username,
        names.email,
        names.walletAddress ?? null,
      ])
      .catch(taken);
    const result = await insert().catch(async (error: unknown) => {
      if (wasRefused(error)) await this.#free(userId);
      throw error;
    });
    await this.#confirm(userId, names);
    return result;
  }

  /** Gives a user other names: the directory first, then the row by `update`. Throws as `register` does. */
  async rename<T>(userId: string, names: UserNames, update: () => Promise<T>): Promise<T> {
    await this.#pool
      .query(
        `UPDATE user_directory SET username = $2, email = $3, wallet_address = $4, confirmed = false, claimed_at = now()
         WHERE user_id = $1`,
        [userId, names.username, names.email, names.walletAddress ?? null],
      )
      .catch(taken);
    const result = await update();
    await this.#confirm(userId, names);
    return result;
  }

  /** Confirms what still is as it was claimed: another rename may have come in between. */
  async #confirm(userId: string, names: UserNames): Promise<void> {
    await this.#pool.query(
      `UPDATE user_directory SET confirmed = true WHERE user_id = $1 AND username = $2 AND email = $3
       AND wallet_address IS NOT DISTINCT FROM $4`,
      [userId, names.username, names.email, names.walletAddress ?? null],
    );
  }

  async #free(userId: string): Promise<void> {
    await this.#pool.query("DELETE FROM user_directory WHERE user_id = $1 AND NOT confirmed", [userId]);
  }

  /** The user who has a name: one question instead of one to every shard. */
  async find(field: "username" | "email" | "wallet_address", value: string): Promise<string | null> {
    const { rows } = await this.#pool.query<{ user_id: string }>(
      `SELECT user_id FROM user_directory WHERE ${field} = $1`,
      [value],
    );
    return rows[0]?.user_id ?? null;
  }

  /** Frees the names of a user whose row is deleted. */
  async release(userId: string): Promise<void> {
    await this.#pool.query("DELETE FROM user_directory WHERE user_id = $1", [userId]);
  }

  /**
   * Settles claims that were not confirmed for so long that whoever made them is gone. `restore` makes the user's row as the
   * directory says and tells whether there is one: then the claim is confirmed, else its names are free again. Gives how many
   * of each.
   */
  async settle(
    restore: (userId: string, names: UserNames) => Promise<boolean>,
    olderThanMs = 3_600_000,
  ): Promise<{ confirmed: number; released: number }> {
    const { rows } = await this.#pool.query<Claim>(
      `SELECT user_id, username, email, wallet_address FROM user_directory
       WHERE NOT confirmed AND claimed_at < now() - make_interval(secs => $1) ORDER BY claimed_at LIMIT 1000`,
      [olderThanMs / 1000],
    );
    const counts = { confirmed: 0, released: 0 };
    for (const { user_id, username, email, wallet_address } of rows) {
      const names = { username, email, walletAddress: wallet_address };
      if (await restore(user_id, names)) {
        await this.#confirm(user_id, names);
        counts.confirmed++;
      } else {
        await this.#free(user_id);
        counts.released++;
      }
    }
    return counts;
  }
}
