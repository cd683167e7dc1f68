// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: how long blocks have to be free before they are hinted.
 *
 * What the host has to give back costs it much more than it cost to take,
 * so a block that is used again soon had better not be hinted. How soon that is
 * depends on what runs, so each zone watches its blocks come into use and counts
 * for how long they had been free, by powers of two of min_age_ms. An age at
 * which, or after which, more than a few blocks came into use of late is too
 * short for the zone.
 *
 * Each count halves in as much time as the least age it stands for. So what is
 * seen of many blocks lasts until such a pause could have come again, and some two
 * of them after the last one the zone is back at min_age_ms.
 *
 * Blocks that the host has are as good as each other. When one of them comes
 * into use, the one hinted last could have been used in its place, had it been
 * left alone. So it is the age of that one that counts.
 */
#include <linux/mm.h>

#include "page_hinting.h"

/* Blocks that may come into use too soon, and how many of them are remembered. */
#define HINT_FEW		4
#define HINT_MANY		(4 * HINT_FEW)

/* For how long a hint is remembered, as a half-life. */
#define HINT_MEMORY		(HZ / 2)

/* The least age; see Documentation/ABI/testing/sysfs-kernel-mm-page_hinting. */
unsigned int hint_min_age_ms __read_mostly = 50;

/*
 * Is each use noted? While not, no word can be believed. Cleared before the hooks
 * are switched off, set after they were switched on. Whoever holds zone->lock sees
 * it cleared, or no use went unnoted before.
 */
static bool hint_noting;

/* What was known before this was counted up is not known any more. */
static unsigned long hint_epoch;

void hint_stop_noting(void)
{
	WRITE_ONCE(hint_noting, false);
}

void hint_start_noting(void)
{
	hint_forget_all();
	WRITE_ONCE(hint_noting, true);
}

/* Whoever holds zone->lock after this sees what was written before. */
void hint_pass_locks(void)
{
	struct zone *zone;

	for_each_populated_zone(zone) {
		spin_lock_irq(&zone->lock);
		spin_unlock_irq(&zone->lock);
	}
}

void hint_forget_all(void)
{
	WRITE_ONCE(hint_epoch, hint_epoch + 1);
	hint_pass_locks();
}

/*
 * In the place of the stamp, for a unit of that order. Not what a user would
 * leave there, nor a time that is likely to be.
 */
static unsigned long hint_known_word(struct page *page, unsigned int unit)
{
	unsigned long n = page_to_pfn(page) + READ_ONCE(hint_epoch);

	return ~(n << HINT_ORDER_BITS | unit);
}

/* The host has all of a block, which need not be on a free list. */
void hint_know(struct page *head, unsigned int order)
{
	unsigned int i, unit = READ_ONCE(page_hinting_order);

	if (!READ_ONCE(hint_noting) || order < unit)
		return;
	for (i = 0; i < 1U << order; i += 1U << unit)
		head[i].free_since = hint_known_word(&head[i], unit);
}

/* Does the host have one unit? */
static bool hint_unit_known(struct page *page, unsigned int unit)
{
	return READ_ONCE(hint_noting) &&
	       page->free_since == hint_known_word(page, unit);
}

/* Does the host have all units that begin in a block? */
bool hint_is_known(struct page *head, unsigned int order)
{
	unsigned int i, unit = READ_ONCE(page_hinting_order);

	for (i = 0; i < 1U << order; i += 1U << unit)
		if (!hint_unit_known(&head[i], unit))
			return false;
	return true;
}

/*
 * For how long has the block been free? Every unit of it was stamped when it came
 * to its free list, alone or with others, or is known to the host, which makes
 * nothing young. What was freed while nobody captured carries whatever its last
 * user left there: what is no time of the past makes nothing young, and what
 * looks like one makes it wait once.
 */
unsigned long hint_age(struct page *head, unsigned int order, unsigned long now)
{
	unsigned int i, unit = READ_ONCE(page_hinting_order);
	unsigned long age = LONG_MAX;

	for (i = 0; i < 1U << order; i += 1U << unit)
		if (!hint_unit_known(&head[i], unit) &&
		    (long)(now - head[i].free_since) >= 0)
			age = min(age, now - head[i].free_since);
	return age;
}

/*
 * A block came to its free list. What it merged with and was free before keeps its
 * stamp: units that were used do not have one of late.
 */
void hint_stamp(struct page *head, unsigned int order)
{
	unsigned int i, unit = READ_ONCE(page_hinting_order);
	unsigned long now = jiffies, late = 2 * max(hint_min_age(), HINT_LONGEST);

	for (i = 0; i < 1U << order; i += 1U << unit)
		if (!hint_unit_known(&head[i], unit) && now - head[i].free_since > late)
			head[i].free_since = now;
}

unsigned long hint_min_age(void)
{
	return msecs_to_jiffies(READ_ONCE(hint_min_age_ms));
}

void hint_set_min_age(unsigned int ms)
{
	WRITE_ONCE(hint_min_age_ms, ms);
	hint_look_all();
}

static unsigned int hint_count_read(struct hint_count *c, unsigned long half_life)
{
	unsigned long n = (jiffies - c->since) / half_life;

	if (n) {
		c->n = n < BITS_PER_TYPE(c->n) ? c->n >> n : 0;
		c->since += n * half_life;
	}
	return c->n;
}

/**
 * hint_note_hint - remember that a block is hinted
 * @hz: its zone
 * @order: its order
 * @since: since when it was free, in jiffies
 *
 * Context: zone->lock held.
 */
void hint_note_hint(struct hint_zone *hz, unsigned int order, unsigned long since)
{
	hint_count_read(&hz->hinted, HINT_MEMORY);
	hz->hinted.n += max(1U << order >> READ_ONCE(page_hinting_order), 1U);
	hz->hinted_since = since;
}

/**
 * hint_note_use - remember that a block came into use
 * @hz: its zone
 * @since: since when it was free, in jiffies
 * @known: units of it that the host had
 *
 * Context: zone->lock held.
 */
void hint_note_use(struct hint_zone *hz, unsigned long since, unsigned int known)
{
	unsigned long min_age = hint_min_age(), age;
	struct hint_count *c;
	unsigned int i;

	if (known) {
		if (!hint_count_read(&hz->hinted, HINT_MEMORY))
			return;
		hz->hinted.n -= min(known, hz->hinted.n);
		since = hz->hinted_since;
	}

	age = jiffies - since;
	if (!min_age || age < min_age || age >= HINT_LONGEST)
		return;
	i = min(ilog2(age / min_age), HINT_AGES - 1);
	c = &hz->used[i];
	c->n = min(hint_count_read(c, min_age << i) + 1, HINT_MANY);
	/* As many as are remembered are so until the pause could be over again. */
	if (c->n == HINT_MANY)
		c->since = jiffies;
}

/**
 * hint_zone_age - for how long blocks have to be free at present
 * @hz: their zone
 *
 * Context: zone->lock held.
 * Return: jiffies, from min_age_ms to two seconds or min_age_ms, whichever is
 * more.
 */
unsigned long hint_zone_age(struct hint_zone *hz)
{
	unsigned long min_age = hint_min_age(), age = min_age;
	unsigned int n = 0;
	int i;

	for (i = HINT_AGES - 1; i >= 0 && age == min_age; i--) {
		if (!min_age || min_age << i >= HINT_LONGEST)
			continue;
		n += hint_count_read(&hz->used[i], min_age << i);
		if (n > HINT_FEW)
			age = min(min_age << (i + 1), HINT_LONGEST);
	}
	WRITE_ONCE(hz->age, age);
	return age;
}

/*
 * At which age blocks are hinted. A little later, and those that are used again at
 * the zone's age have shown it.
 */
unsigned long hint_ripe_age(struct hint_zone *hz)
{
	return hint_zone_age(hz) + hint_min_age() / 4;
}

void __page_hinting_use(struct page *page, unsigned int used)
{
	unsigned int i, known = 0, unit = READ_ONCE(page_hinting_order);
	unsigned long since = page->free_since;
	bool marked = PageReported(page);

	/* Users need not write there, and then it would look as if known. */
	for (i = 0; i < 1U << used; i += 1U << unit) {
		known += marked || hint_unit_known(&page[i], unit);
		page[i].free_since = 0;
	}
	if (known)
		__count_vm_events(PAGE_HINT_REUSED, known << unit);
	/* Free for less than a tick: that is no age. */
	if (known || jiffies - since)
		hint_note_use(hint_zone_of(page_zone(page)), since, known);
}
