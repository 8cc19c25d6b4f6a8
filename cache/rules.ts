/** What is cached, under which keys, for how long: the guide's table (Stage 3 › What to Cache) for the application. */
import { CACHE_RULES, type CacheRule } from "../stacks/guide.ts";

/** The guide's kinds of cached data. */
export type CacheKind = "user_profiles" | "group_details" | "forum_rankings" | "permission_checks";

/** Key of one entry; the same keys are dropped when the database's rows change (images/postgres/bin/cgraph-cache-sync). */
export const KEYS = {
  user_profiles: (userId: string) => `user:${userId}`,
  group_details: (groupId: string) => `group:${groupId}`,
  forum_rankings: (forumId: string) => `forum_rankings:${forumId}`,
  permission_checks: (groupId: string, userId: string) => `permissions:${groupId}:${userId}`,
} as const satisfies Record<CacheKind, (...ids: string[]) => string>;

/** The key of an entry whose kind is known only when it runs. */
export function keyOf(kind: CacheKind, ids: readonly string[]): string {
  const key: (...parts: string[]) => string = KEYS[kind];
  return key(...ids);
}

function rule(kind: CacheKind | "unread_counts"): CacheRule {
  const found = CACHE_RULES.value.find(({ data }) => data === kind);
  if (!found) throw new Error(`the guide's table has no ${kind}`);
  return found;
}

/** Seconds that an entry lives at most. */
export const TTL_SECONDS: Readonly<Record<CacheKind, number>> = {
  user_profiles: rule("user_profiles").ttlSeconds ?? 0,
  group_details: rule("group_details").ttlSeconds ?? 0,
  forum_rankings: rule("forum_rankings").ttlSeconds ?? 0,
  permission_checks: rule("permission_checks").ttlSeconds ?? 0,
};

/** Sets of entries that are dropped together: a vote does not say of which forum it is. */
export const INDEX_KEYS: Readonly<Partial<Record<CacheKind, string>>> = { forum_rankings: "forum_rankings" };

/** Hash of a conversation's unread counts: one field for each member who has asked. Kept in step, not timed out. */
export const unreadKey = (conversationId: string): string => `unread:${conversationId}`;
/** Counts changes of a conversation's messages: a count that was read before a change must not be stored after it. */
export const unreadVersionKey = (conversationId: string): string => `unread-version:${conversationId}`;
/** Channel on which a conversation's new messages are announced. */
export const messagesChannel = (conversationId: string): string => `messages:${conversationId}`;
