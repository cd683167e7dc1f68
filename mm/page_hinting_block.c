// SPDX-License-Identifier: GPL-2.0
/*
 * Page hinting: blocks. What is looked at, isolated, swept and returned under
 * zone->lock; see mm/page_hinting.c for the whole.
 *
 * Nothing here trusts what was true when a block was captured. A pfn may lie in
 * a larger free block by now, in a smaller one, in one that is used, or in no
 * memory at all, so each look starts from the pfn and asks again.
 */
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/page-isolation.h>

#include "internal.h"
#include "page_hinting.h"

#define CREATE_TRACE_POINTS
#include <trace/events/page_hinting.h>

/* When a zone that could spare nothing is looked at again. */
#define HINT_RETRY		HZ

/* Since when an OOM situation keeps blocks where they are, for a second. */
static unsigned long hint_held_off_at = INITIAL_JIFFIES - HZ;

/**
 * hint_hold_off - isolate nothing for a second
 *
 * For an OOM situation: what comes back from the host must not go out again.
 */
void hint_hold_off(void)
{
	WRITE_ONCE(hint_held_off_at, jiffies);
}

/* Note that something has to be looked at again, not before @when. */
static void hint_again(struct hint_look *look, unsigned long when)
{
	if (!look->again || time_before(when, look->next))
		look->next = when;
	look->again = true;
}

/* Is there room for a block of @nr pages? Takes it where there is. */
static enum hint_verdict hint_reserve(struct hint_look *look, struct zone *zone,
				      unsigned long nr)
{
	struct hint_zone *hz = hint_zone_of(zone);
	long out;

	/* A batch is of one zone. */
	if (look->batch->nents == PAGE_HINTING_BATCH ||
	    (look->batch->nents && look->batch->zone != zone))
		return HINT_FULL;

	/*
	 * Would the zone still be above the mark at which kswapd wakes? Without
	 * what is reserved or only for movable pages.
	 */
	if (!zone_watermark_ok(zone, 0, low_wmark_pages(zone) + nr, 0, 0) ||
	    jiffies - READ_ONCE(hint_held_off_at) < HZ) {
		hint_again(look, jiffies + HINT_RETRY);
		return HINT_LOW;
	}

	/* One block at a time is let through however small the limits are. */
	if (hz->in_flight &&
	    hz->in_flight + nr > zone_managed_pages(zone) / HINT_ZONE_SHARE) {
		look->capped = true;
		return HINT_ZONE_CAPPED;
	}

	out = atomic_long_read(&hint_inflight);
	do {
		if (out + nr > max(READ_ONCE(hint_max_inflight_pages), nr)) {
			look->capped = true;
			return HINT_CAPPED;
		}
	} while (!atomic_long_try_cmpxchg(&hint_inflight, &out,
					  out + nr));

	hz->in_flight += nr;
	return HINT_TAKEN;
}

/*
 * The part of a block that the host need be told of. It is no smaller than a unit,
 * and all of the block where both halves have something new.
 */
static struct page *hint_news(struct page *head, unsigned int *order)
{
	while (*order > READ_ONCE(page_hinting_order)) {
		struct page *half = head + (1UL << (*order - 1));

		if (hint_is_known(head, *order - 1))
			head = half;
		else if (!hint_is_known(half, *order - 1))
			break;
		--*order;
	}
	return head;
}

static void hint_put_back(struct page *page, unsigned int order)
{
	__putback_isolated_page(page, order, get_pageblock_migratetype(page));
}

/* Take a part of a block. The rest of it goes back, and the host has that. */
static void hint_take(struct page *head, unsigned int order, struct page *part,
		      unsigned int part_order)
{
	take_free_block(head, order);
	while (order > part_order) {
		struct page *half = head + (1UL << --order);
		struct page *rest = part < half ? half : head;

		hint_put_back(rest, order);
		__SetPageReported(rest);
		head = part < half ? head : half;
	}
}

/* Look at the free block that starts at @head. */
static enum hint_verdict hint_block(struct hint_look *look, struct zone *zone,
				    struct page *head, unsigned int order)
{
	struct hint_batch *batch = look->batch;
	unsigned long now = jiffies, age = LONG_MAX;
	unsigned int part_order = order;
	enum hint_verdict verdict;
	struct page *part = head;

	/* Does it wait to be offlined or to be allocated as a range? */
	if (is_migrate_isolate(get_pageblock_migratetype(head)))
		return HINT_STALE;

	/* Does the host know it already? Then it has been free for long, too. */
	if (PageReported(head) || hint_is_known(head, order)) {
		__SetPageReported(head);
		if (!look->all)
			return HINT_DUPLICATE;
	} else {
		age = hint_age(head, order, now);
	}
	if (age < look->min_age) {
		/* It was in use a moment ago; and after it was captured? */
		if (time_after(now - age, look->since))
			return HINT_DUPLICATE;
		/* A little later, and others will be ripe with it. */
		hint_again(look, now - age + look->min_age + hint_min_age() / 4);
		return HINT_YOUNG;
	}

	if (!look->all)
		part = hint_news(head, &part_order);
	verdict = hint_reserve(look, zone, 1UL << part_order);
	if (verdict != HINT_TAKEN)
		return verdict;

	hint_take(head, order, part, part_order);
	sg_set_page(&batch->sgl[batch->nents++], part, PAGE_SIZE << part_order, 0);
	batch->zone = zone;
	hint_note_hint(hint_zone_of(zone), part_order, now - age);
	__count_vm_events(PAGE_HINT_ISOLATED, 1 << part_order);
	trace_page_hinting_isolate(page_to_pfn(part), part_order);
	return HINT_TAKEN;
}

/* Look at the unit at @pfn; @end is where the next look starts. */
static enum hint_verdict hint_unit(struct hint_look *look, struct zone *zone,
				   unsigned long pfn, unsigned long *end)
{
	unsigned int order = READ_ONCE(page_hinting_order);
	struct page *page, *head;

	*end = pfn + (1UL << order);

	/* Is it memory, and the zone's? */
	page = pfn_to_online_page(pfn);
	if (!page || page_zone(page) != zone)
		return HINT_STALE;

	/* Is it free, alone or as a part of something larger? */
	head = find_free_block(page, &order);
	if (!head)
		return HINT_STALE;

	*end = page_to_pfn(head) + (1UL << order);
	return hint_block(look, zone, head, order);
}

/**
 * hint_range - look at all free blocks in a range of pfns
 * @look: what to compare with, and where ripe blocks go
 * @zone: the zone whose lock the caller holds; blocks of others are stale
 * @pfn: first pfn
 * @order: order of the range
 *
 * Context: zone->lock held with interrupts off, inside an RCU read-side
 * section that began before @pfn was last known to be online.
 * Return: the verdict that ranks highest; above HINT_TAKEN the range has to be
 * looked at again.
 */
enum hint_verdict hint_range(struct hint_look *look, struct zone *zone,
			     unsigned long pfn, unsigned int order)
{
	unsigned long unit = 1UL << READ_ONCE(page_hinting_order);
	unsigned long end = pfn + (1UL << order);
	enum hint_verdict verdict = HINT_STALE;

	lockdep_assert_held(&zone->lock);

	for (pfn = ALIGN_DOWN(pfn, unit); pfn < end; )
		verdict = max(verdict, hint_unit(look, zone, pfn, &pfn));

	return verdict;
}

/**
 * hint_want_sweep - have a zone searched for blocks that no array holds
 * @zone: the zone
 * @all: look at blocks that are marked, too
 *
 * Context: any, up to NMI. A thread has to be woken by the caller's caller:
 * the first capture into the array that overflowed has seen to that.
 */
void hint_want_sweep(struct zone *zone, bool all)
{
	struct hint_zone *hz = hint_zone_of(zone);

	if (all)
		set_bit(HINT_SWEEP_ALL, &hz->flags);
	/* Pairs with the test_and_clear_bit()s in hint_sweep_begin(). */
	smp_mb__before_atomic();
	set_bit(HINT_SWEEP_WANTED, &hz->flags);
}

/* End a sweep, or put it off. The next does not begin at once. */
static void hint_sweep_pause(struct hint_zone *hz, bool low)
{
	hz->low = low;
	hz->paused_at = jiffies;
	WRITE_ONCE(hz->waiter, -1);
}

/* Is it too early to go on? Then one CPU has a timer, which is enough. */
static bool hint_sweep_paused(struct hint_look *look, struct hint_zone *hz)
{
	/* min_age_ms may have been lowered since the age was worked out. */
	unsigned long most = max(hint_min_age(), HINT_LONGEST);
	unsigned long pause = hz->low ? HINT_RETRY :
				clamp(READ_ONCE(hz->age), 1UL, most) +
				hint_min_age() / 4;
	int cpu = raw_smp_processor_id(), waiter = READ_ONCE(hz->waiter);

	if (jiffies - hz->paused_at >= pause)
		return false;
	if (waiter < 0)
		WRITE_ONCE(hz->waiter, cpu);
	if (waiter < 0 || waiter == cpu)
		hint_again(look, hz->paused_at + pause);
	return true;
}

/**
 * hint_sweep_forget - do not rely on a CPU's timer any more
 * @cpu: the CPU, dead or without a thread; its timer does not run any more
 *
 * Whoever looks next at a zone that waited for it takes its place.
 */
void hint_sweep_forget(unsigned int cpu)
{
	struct zone *zone;

	for_each_populated_zone(zone) {
		struct hint_zone *hz = hint_zone_of(zone);

		if (READ_ONCE(hz->waiter) == cpu)
			WRITE_ONCE(hz->waiter, -1);
	}
}

/* A cursor of 0 stands for no sweep; nobody misses the first page. */
static unsigned long hint_sweep_start(struct zone *zone)
{
	return max(zone->zone_start_pfn, 1UL);
}

/* Begin a sweep where one is due, or go on with it. */
static bool hint_sweep_begin(struct hint_look *look, struct zone *zone,
			     struct hint_zone *hz)
{
	if (!hz->cursor && !test_bit(HINT_SWEEP_WANTED, &hz->flags))
		return false;
	if (hint_sweep_paused(look, hz))
		return false;
	if (hz->cursor)
		return true;

	/* What overflows from here on asks for the next sweep. */
	test_and_clear_bit(HINT_SWEEP_WANTED, &hz->flags);
	hz->all = test_and_clear_bit(HINT_SWEEP_ALL, &hz->flags);
	hz->retry = false;
	hz->started = jiffies;
	hz->cursor = hint_sweep_start(zone);
	return true;
}

/*
 * A block that was young is looked at once more. It was freed before the sweep
 * began: for what was freed since then, there is a capture or the next sweep.
 */
static void hint_sweep_end(struct zone *zone, struct hint_zone *hz)
{
	hint_sweep_pause(hz, false);
	hz->cursor = hz->retry ? hint_sweep_start(zone) : 0;
	hz->retry = false;
	hz->all = false;
}

/* One hold of zone->lock of a sweep. */
static enum hint_verdict hint_sweep_hold(struct hint_look *look,
					 struct zone *zone, struct hint_zone *hz)
{
	enum hint_verdict verdict = HINT_STALE;
	unsigned long flags, next;
	int i;

	rcu_read_lock();
	spin_lock_irqsave(&zone->lock, flags);
	look->min_age = hint_ripe_age(hz);
	for (i = 0; i < HINT_SLICE && hz->cursor < zone_end_pfn(zone); i++) {
		unsigned long pfn = hz->cursor;

		pfn = ALIGN_DOWN(pfn, 1UL << READ_ONCE(page_hinting_order));
		verdict = hint_unit(look, zone, pfn, &next);
		if (verdict >= HINT_LOW)
			break;
		if (verdict == HINT_YOUNG)
			hz->retry = true;
		if (verdict == HINT_TAKEN)
			__count_vm_event(PAGE_HINT_SWEPT);
		hz->cursor = next;
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	rcu_read_unlock();
	return verdict;
}

/**
 * hint_sweep_slice - search a bounded part of a zone for blocks not yet hinted
 * @look: where ripe blocks go, and when to come back
 * @zone: the zone to search
 *
 * The search goes by pfn and not along the free lists: it can stop anywhere
 * and go on there, it leaves the lists in their order, and a block cannot hide
 * from it behind those already hinted. It costs one struct page per unit of
 * page_hinting_order, free or not.
 *
 * Context: task, no lock held.
 * Return: HINT_STALE when nothing is left to do now, HINT_TAKEN when the sweep
 * goes on, else why it had to stop.
 */
enum hint_verdict hint_sweep_slice(struct hint_look *look, struct zone *zone)
{
	struct hint_zone *hz = hint_zone_of(zone);
	enum hint_verdict verdict = HINT_STALE;

	if (test_and_set_bit_lock(HINT_SWEEP_BUSY, &hz->flags)) {
		/* Who has it may have missed what this CPU was woken for. */
		hint_again(look, jiffies + 1);
		return HINT_STALE;
	}

	if (!hint_sweep_begin(look, zone, hz))
		goto out;

	look->since = hz->started;
	look->all = hz->all;
	verdict = hint_sweep_hold(look, zone, hz);
	if (verdict == HINT_LOW) {
		/* So are the blocks behind it. */
		hint_sweep_pause(hz, true);
		hint_sweep_paused(look, hz);
	}
	if (verdict == HINT_LOW || verdict == HINT_ZONE_CAPPED) {
		/* There are other zones. */
		verdict = HINT_STALE;
		goto out;
	}
	if (verdict >= HINT_FULL)
		goto out;

	verdict = HINT_TAKEN;
	if (hz->cursor >= zone_end_pfn(zone))
		hint_sweep_end(zone, hz);
out:
	clear_bit_unlock(HINT_SWEEP_BUSY, &hz->flags);
	return verdict;
}

/*
 * Put a block, or a pageblock of it, back to the tail of its free list. If this
 * interrupted compaction, that may have captured it.
 */
static void hint_return_piece(struct page *page, unsigned int order)
{
	struct page *head;

	hint_put_back(page, order);
	head = find_free_block(page, &order);
	if (head && hint_is_known(head, order))
		__SetPageReported(head);
}

/**
 * hint_return - give the blocks of a batch back to the buddy
 * @batch: the batch
 * @err: 0 when the host has discarded them, and they are to be marked so
 *
 * A pageblock may have been isolated while the batch was away, so pageblocks
 * go back one by one, each by its own type.
 *
 * Context: any in which zone->lock may be taken, no mm lock held.
 */
void hint_return(struct hint_batch *batch, int err)
{
	struct zone *zone = batch->zone;
	unsigned long flags, total = 0;
	unsigned int i;

	spin_lock_irqsave(&zone->lock, flags);
	for (i = 0; i < batch->nents; i++) {
		struct page *page = sg_page(&batch->sgl[i]);
		unsigned long nr = batch->sgl[i].length >> PAGE_SHIFT;
		unsigned int order = ilog2(nr), unit = READ_ONCE(page_hinting_order);
		unsigned int piece = min_t(unsigned int, order, pageblock_order);
		unsigned long off;

		/* After an error the next device gets all there is. */
		if (!err)
			hint_know(page, order);
		for (off = 0; off < nr; off += 1UL << piece)
			hint_return_piece(page + off, piece);
		/* A unit of several pageblocks need not have come together. */
		if (unit > piece && !find_free_block(page, &unit))
			page->free_since = 0;
		trace_page_hinting_return(page_to_pfn(page), order, err);
		total += nr;
	}
	hint_zone_of(zone)->in_flight -= total;
	__count_vm_events(err ? PAGE_HINT_FAILED : PAGE_HINT_REPORTED, total);
	spin_unlock_irqrestore(&zone->lock, flags);

	atomic_long_sub(total, &hint_inflight);
}

/**
 * hint_mark_range - treat the free blocks of a range as if they were hinted
 * @pfn: first pfn, aligned to a memory block
 * @nr_pages: pages in the range
 *
 * For memory that was just onlined. What was used and freed in the moment since
 * then passes for unused, and the host is told of it after its next use.
 */
void hint_mark_range(unsigned long pfn, unsigned long nr_pages)
{
	unsigned long end = pfn + nr_pages;

	while (pfn < end) {
		unsigned int order = READ_ONCE(page_hinting_order);
		struct page *page, *head;
		struct zone *zone;
		unsigned long flags;

		page = pfn_to_online_page(pfn);
		pfn += 1UL << order;
		if (!page)
			continue;
		zone = page_zone(page);
		spin_lock_irqsave(&zone->lock, flags);
		head = find_free_block(page, &order);
		if (head) {
			hint_know(head, order);
			__SetPageReported(head);
		}
		spin_unlock_irqrestore(&zone->lock, flags);
	}
}
