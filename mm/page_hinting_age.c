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
 * @since: since when it was free, in jiffies
 *
 * Context: zone->lock held.
 */
void hint_note_hint(struct hint_zone *hz, unsigned long since)
{
	hint_count_read(&hz->hinted, HINT_MEMORY);
	hz->hinted.n++;
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

void __page_hinting_use(struct page *page, unsigned int order)
{
	bool marked = PageReported(page);

	if (marked)
		__count_vm_events(PAGE_HINT_REUSED, 1 << order);
	hint_note_use(hint_zone_of(page_zone(page)), page->free_since, marked);
}
