/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of page hinting look at, and the device that they register: it
 * notes what it is told and answers as each test wants it to.
 */
#ifndef _MM_TESTS_PAGE_HINTING_KUNIT_H
#define _MM_TESTS_PAGE_HINTING_KUNIT_H

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "../page_hinting.h"

#define TEST_WAIT_MS	5000
/* Several ticks, so that the CPU goes idle. */
#define TEST_POLL_MS	20
#define TEST_BLOCKS	48
#define TEST_HALF	(MAX_PAGE_ORDER - 1)

/**
 * struct test_dev - the device
 * @dev: what is registered
 * @hold: Keep what is reported and do not answer.
 * @err: What report() returns.
 * @refused: The first block it was given when it did.
 * @lock: Protects what follows.
 * @held: What was kept.
 * @nr_held: How much of it.
 * @ranges: Ranges that were reported.
 * @watched: First pfns to look out for.
 * @seen: How often each was in a range.
 * @bad: A range that was not free memory of a power of two of pages.
 */
struct test_dev {
	struct page_hinting_dev dev;
	bool hold;
	int err;
	struct page *refused;
	/* Protects the fields below. */
	spinlock_t lock;
	struct scatterlist *held[HINT_NR_BATCHES];
	unsigned int nr_held;
	unsigned long ranges;
	unsigned long watched[TEST_BLOCKS];
	unsigned int seen[TEST_BLOCKS];
	bool bad;
};

/* What a test may change. */
struct test_tunables {
	unsigned int min_age_ms;
	unsigned long max_inflight_pages;
	unsigned int capture_entries;
};

static struct test_dev test_dev;
static struct test_tunables test_saved;
static struct page *test_pages[TEST_BLOCKS];

static void test_note_range(struct test_dev *t, struct scatterlist *sg)
{
	unsigned long pfn = page_to_pfn(sg_page(sg));
	unsigned long nr = sg->length >> PAGE_SHIFT;
	int i;

	t->ranges++;
	if (!is_power_of_2(nr) || pfn & (nr - 1) || PageBuddy(sg_page(sg)) ||
	    page_count(sg_page(sg)))
		t->bad = true;

	for (i = 0; i < TEST_BLOCKS; i++)
		if (t->watched[i] && t->watched[i] >= pfn &&
		    t->watched[i] < pfn + nr)
			t->seen[i]++;
}

static int test_report(struct page_hinting_dev *dev, struct scatterlist *sgl,
		       unsigned int nents)
{
	struct test_dev *t = container_of(dev, struct test_dev, dev);
	struct scatterlist *sg;
	unsigned int i, n = 0;

	if (t->err) {
		t->refused = sg_page(sgl);
		return t->err;
	}

	spin_lock(&t->lock);
	for_each_sg(sgl, sg, nents, i) {
		test_note_range(t, sg);
		n = i + 1;
		if (sg_is_last(sg))
			break;
	}
	if (n != nents || !sg_is_last(&sgl[nents - 1]))
		t->bad = true;
	if (t->hold)
		t->held[t->nr_held++] = sgl;
	spin_unlock(&t->lock);

	if (!t->hold)
		page_hinting_done(sgl, 0);
	return 0;
}

/* Answer what was kept. */
static unsigned int test_answer(int err)
{
	struct scatterlist *sgl;
	unsigned int n = 0;

	for (;;) {
		spin_lock(&test_dev.lock);
		sgl = test_dev.nr_held ? test_dev.held[--test_dev.nr_held] : NULL;
		spin_unlock(&test_dev.lock);
		if (!sgl)
			return n;
		page_hinting_done(sgl, err);
		n++;
	}
}

static void test_answer_fn(struct work_struct *work)
{
	test_answer(0);
}

static DECLARE_DELAYED_WORK(test_answer_work, test_answer_fn);

/* Wait for @cond, for as long as a busy emulated machine may need. */
#define test_wait_for(cond) ({						\
	int __ms = 0;							\
	bool __ok;							\
	for (; !(__ok = (cond)) && __ms < TEST_WAIT_MS; __ms += TEST_POLL_MS) \
		msleep(TEST_POLL_MS);					\
	__ok;								\
})

/* Free blocks of hint order that are not marked, isolated ones aside. */
static unsigned long test_unmarked(void)
{
	unsigned long pfn, flags, n = 0;
	struct zone *zone;

	for_each_populated_zone(zone) {
		spin_lock_irqsave(&zone->lock, flags);
		for (pfn = ALIGN(zone->zone_start_pfn, 1UL << page_hinting_order);
		     pfn < zone_end_pfn(zone);
		     pfn += 1UL << page_hinting_order) {
			struct page *page = pfn_to_online_page(pfn);

			if (page && page_zone(page) == zone && PageBuddy(page) &&
			    page_private(page) >= page_hinting_order &&
			    !PageReported(page))
				n++;
		}
		spin_unlock_irqrestore(&zone->lock, flags);
	}
	return n;
}

/* Everything that is free was hinted and is back, and no sweep is under way. */
static bool test_quiet(void)
{
	struct zone *zone;

	for_each_populated_zone(zone) {
		struct hint_zone *hz = hint_zone_of(zone);

		if (READ_ONCE(hz->cursor) || READ_ONCE(hz->flags))
			return false;
	}
	return !test_unmarked() && !atomic_long_read(&hint_inflight);
}

static unsigned long test_event(enum vm_event_item item)
{
	static unsigned long events[NR_VM_EVENT_ITEMS];

	all_vm_events(events);
	return events[item];
}

/* Captures that were taken from the arrays and have not ended in any way yet. */
static unsigned long test_pending(void)
{
	return test_event(PAGE_HINT_CAPTURED) - test_event(PAGE_HINT_STALE) -
	       test_event(PAGE_HINT_DUPLICATE) - test_event(PAGE_HINT_AGED);
}

/* Allocate blocks of hint order and have the device look out for them. */
static void test_alloc(struct kunit *test, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		test_pages[i] = alloc_pages(GFP_KERNEL | __GFP_NOWARN,
					    page_hinting_order);
		KUNIT_ASSERT_NOT_NULL(test, test_pages[i]);
		test_dev.seen[i] = 0;
		WRITE_ONCE(test_dev.watched[i], page_to_pfn(test_pages[i]));
	}
}

/* A largest block of a zone below that of the first one. */
static struct page *test_alloc_low(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_DMA | __GFP_NOWARN, MAX_PAGE_ORDER);

	if (page && page_zone(page) == page_zone(test_pages[0])) {
		__free_pages(page, MAX_PAGE_ORDER);
		page = NULL;
	}
	if (!page)
		kunit_skip(test, "there is no other zone");
	return page;
}

static void test_free(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		if (test_pages[i])
			__free_pages(test_pages[i], page_hinting_order);
		test_pages[i] = NULL;
	}
}

static void test_add_in_flight(struct zone *zone, long pages)
{
	spin_lock_irq(&zone->lock);
	hint_zone_of(zone)->in_flight += pages;
	spin_unlock_irq(&zone->lock);
}

static void test_drain_fn(struct work_struct *work)
{
	drain_local_pages(NULL);
}

/* Pages in the lists of CPUs go where they merge. */
static void test_drain(void)
{
	schedule_on_each_cpu(test_drain_fn);
}

static unsigned int test_nr_seen(unsigned int n)
{
	unsigned int i, seen = 0;

	for (i = 0; i < n; i++)
		seen += !!READ_ONCE(test_dev.seen[i]);
	return seen;
}

/* A largest block was freed then, and is not with the host. Captures are looked at. */
static void test_stamp(struct page *page, unsigned long when)
{
	struct zone *zone = page_zone(page);
	unsigned long flags, i;

	spin_lock_irqsave(&zone->lock, flags);
	/* Where somebody else has it by now, the test fails and does no harm. */
	if (PageBuddy(page) && page_private(page) == MAX_PAGE_ORDER) {
		for (i = 0; i < MAX_ORDER_NR_PAGES; i += 1UL << page_hinting_order)
			page[i].free_since = when;
		__ClearPageReported(page);
	}
	spin_unlock_irqrestore(&zone->lock, flags);
	hint_kick(raw_smp_processor_id());
}

/* An array waits, and there is nothing by now that would end that. */
static bool test_waits(struct hint_cpu *c)
{
	msleep(3 * hint_min_age_ms);
	return READ_ONCE(c->nr) && !hint_nr_captured(c) && !READ_ONCE(c->undrained);
}

/*
 * Free one while an array waits for the zone of @low, which is ripe, and have the
 * thread look before that one can be. It leaves a timer for when it may.
 */
static void test_free_early(struct kunit *test, struct page *low)
{
	struct hint_cpu *c = per_cpu_ptr(&hint_cpu, raw_smp_processor_id());
	unsigned long taken_at, until;

	KUNIT_EXPECT_TRUE(test, test_wait_for(test_waits(c)));
	taken_at = READ_ONCE(c->taken_at);
	hint_min_age_ms = 2000;
	until = taken_at + hint_min_age();

	test_free(1);
	test_drain();
	test_stamp(low, jiffies - 10 * HZ);
	msleep(100);
	KUNIT_EXPECT_EQ(test, READ_ONCE(c->taken_at), taken_at);
	KUNIT_EXPECT_TRUE(test, timer_pending(&c->timer));
	KUNIT_EXPECT_LE(test, (long)(READ_ONCE(c->timer.expires) - until), 0);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(1)));
	hint_set_min_age(test_saved.min_age_ms);
}

/* Pushed by an interrupt, and between two of those by whom it interrupts. */
static struct page *test_nested[2];
static unsigned int test_nr_nested;

static void test_nest_fn(struct irq_work *work)
{
	__page_hinting_recheck(test_nested[1] + test_nr_nested++, 0);
}

static struct irq_work test_nest = IRQ_WORK_INIT_HARD(test_nest_fn);

/* Single pages of the @nr from @first on in the array that this CPU fills. */
static unsigned int test_captured(struct page *first, unsigned long nr)
{
	struct hint_cpu *c = this_cpu_ptr(&hint_cpu);
	unsigned long *slots = c->slots[!!(local_read(&c->state) & HINT_ARRAY_1)];
	unsigned int i, n = 0;

	for (i = 0; i < hint_nr_captured(c); i++)
		n += !(slots[i] & HINT_ORDER_MASK) &&
		     (slots[i] >> HINT_ORDER_BITS) - page_to_pfn(first) < nr;
	return n;
}

/* What find_free_block() says of the second unit of a block. */
static struct page *test_find(struct page *page, unsigned int *order)
{
	struct zone *zone = page_zone(page);
	struct page *head;
	unsigned long flags;

	*order = HINT_MIN_ORDER;
	spin_lock_irqsave(&zone->lock, flags);
	head = find_free_block(page + (1 << HINT_MIN_ORDER), order);
	spin_unlock_irqrestore(&zone->lock, flags);
	return head;
}

static void test_start(struct kunit *test)
{
	int err = page_hinting_register(&test_dev.dev);

	if (err == -EBUSY)
		kunit_skip(test, "a device is bound");
	KUNIT_ASSERT_EQ(test, err, 0);
}

/* The device has been told of all that was free. */
static void test_start_quiet(struct kunit *test)
{
	test_start(test);
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_quiet()));
}

/* Two halves of a block, each to be freed; they are watched. */
static struct page *test_alloc_halves(struct kunit *test)
{
	struct page *page, *other;

	if (page_hinting_order == MAX_PAGE_ORDER)
		kunit_skip(test, "blocks do not merge");
	hint_min_age_ms = 200;
	test_start_quiet(test);
	page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	other = page + (1 << TEST_HALF);
	set_page_refcounted(other);
	WRITE_ONCE(test_dev.watched[0], page_to_pfn(page));
	WRITE_ONCE(test_dev.watched[1], page_to_pfn(other));
	return page;
}

static int hinting_test_init(struct kunit *test)
{
	if (!page_hinting_wanted())
		kunit_skip(test, "page hinting is off");
	test_saved.min_age_ms = hint_min_age_ms;
	test_saved.max_inflight_pages = hint_max_inflight_pages;
	test_saved.capture_entries = hint_capture_entries;

	memset(&test_dev, 0, sizeof(test_dev));
	spin_lock_init(&test_dev.lock);
	test_dev.dev.report = test_report;
	test_dev.dev.max_batches = HINT_NR_BATCHES;
	/* What a test frees is captured by one CPU. Each has a thread of its own. */
	return set_cpus_allowed_ptr(current, cpumask_of(raw_smp_processor_id()));
}

static void hinting_test_exit(struct kunit *test)
{
	/* Was it skipped? */
	if (!test_dev.dev.report)
		return;
	test_dev.hold = false;
	page_hinting_unregister(&test_dev.dev);
	test_answer(-ECANCELED);
	test_free(TEST_BLOCKS);
	hint_set_wanted(true);

	hint_min_age_ms = test_saved.min_age_ms;
	hint_max_inflight_pages = test_saved.max_inflight_pages;
	hint_capture_entries = test_saved.capture_entries;
}

#endif /* _MM_TESTS_PAGE_HINTING_KUNIT_H */
