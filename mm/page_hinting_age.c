// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: how long blocks have to be free before they are hinted.
 *
 * What the host has to give back costs it some 30 times what it cost to take,
 * so a block that is used again soon had better not be hinted. How soon that is
 * depends on what runs, so each zone watches its blocks come into use and counts
 * for how long they had been free, by powers of two of min_age_ms. An age at
 * which, or after which, more than a few blocks came into use of late is too
 * short for the zone.
 *
 * Each count halves in as much time as the age it stands for. So what is seen
 * of a pause lasts until that pause could have come again, and some two of them
 * after the last one the zone is back at min_age_ms.
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

/* Where free page reporting begins to look, and so where waiting ends. */
#define HINT_LONGEST		(2 * HZ)

/* For how long a hint is remembered, as a half-life. */
#define HINT_MEMORY		(HZ / 2)

/* What was known before this was counted up is not known any more. */
static unsigned long hint_epoch;

/* In the place of the stamp. Neither a time nor what a user would leave there. */
static unsigned long hint_known_word(struct page *page)
{
	return ~(page_to_pfn(page) + READ_ONCE(hint_epoch));
}

/* Called with hint_mutex held. */
void hint_forget_all(void)
{
	WRITE_ONCE(hint_epoch, hint_epoch + 1);
}

static unsigned int hint_step(unsigned int order)
{
	return 1U << min(order, READ_ONCE(page_hinting_order));
}

/* The host has all of a block, which need not be on a free list. */
void hint_know(struct page *head, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i += hint_step(order))
		head[i].free_since = hint_known_word(&head[i]);
}

bool hint_is_known(struct page *head, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i += hint_step(order))
		if (head[i].free_since != hint_known_word(&head[i]))
			return false;
	return true;
}

/*
 * For how long has the block been free? Every unit of it was stamped when the
 * block, or a larger one that it was split from, came to its free list, or is
 * known to the host, which makes nothing young. What was freed while nobody
 * captured carries whatever its last user left there: what is no time of the
 * past makes nothing young, and what looks like one makes it wait once.
 */
unsigned long hint_age(struct page *head, unsigned int order, unsigned long now)
{
	unsigned long age = LONG_MAX;
	unsigned int i;

	for (i = 0; i < 1U << order; i += hint_step(order))
		if (!hint_is_known(&head[i], 0) &&
		    (long)(now - head[i].free_since) >= 0)
			age = min(age, now - head[i].free_since);
	return age;
}

unsigned long hint_min_age(void)
{
	return msecs_to_jiffies(READ_ONCE(hint_min_age_ms));
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
	hz->hinted.n += (1U << order) / hint_step(order);
	hz->hinted_since = since;
}

/**
 * hint_note_use - remember that a block came into use
 * @hz: its zone
 * @since: since when it was free, in jiffies
 * @marked: the host had it
 *
 * Context: zone->lock held.
 */
void hint_note_use(struct hint_zone *hz, unsigned long since, bool marked)
{
	unsigned long min_age = hint_min_age(), age;
	struct hint_count *c;
	unsigned int i;

	if (marked) {
		if (!hint_count_read(&hz->hinted, HINT_MEMORY))
			return;
		hz->hinted.n--;
		since = hz->hinted_since;
	}

	age = jiffies - since;
	if (!min_age || age < min_age || age >= HINT_LONGEST)
		return;
	i = min(ilog2(age / min_age), HINT_AGES - 1);
	c = &hz->used[i];
	c->n = min(hint_count_read(c, min_age << i) + 1, HINT_MANY);
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

void __page_hinting_use(struct page *page, unsigned int order, unsigned int used)
{
	unsigned int i;
	bool known;

	/* What of it is not used loses the mark, too. */
	if (PageReported(page))
		hint_know(page, order);
	known = hint_is_known(page, 0);
	if (known)
		__count_vm_events(PAGE_HINT_REUSED, max(1U << used, hint_step(order)));
	hint_note_use(hint_zone_of(page_zone(page)), page->free_since, known);

	/* Its users need not write there, and then it looked as if known. */
	for (i = 0; i < 1U << used; i += hint_step(page_hinting_order))
		page[i].free_since = 0;
}

/* Each part that a split may leave behind carries the stamp. */
void hint_stamp(struct page *page, unsigned int order)
{
	unsigned int i;

	for (i = 0; i < 1U << order; i += hint_step(order))
		if (!hint_is_known(&page[i], 0))
			page[i].free_since = jiffies;
}
