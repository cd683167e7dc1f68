// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of page hinting with a device of their own.
 */
#include "page_hinting_kunit.h"

/* A freed block is reported once, marked, and the mark goes with its use. */
static void hinting_reports_once(struct kunit *test)
{
	unsigned long reused;

	test_start_quiet(test);

	test_alloc(test, 8);
	msleep(2 * hint_min_age_ms);
	KUNIT_EXPECT_EQ(test, test_nr_seen(8), 0);

	test_free(8);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));
	msleep(3 * hint_min_age_ms);
	KUNIT_EXPECT_EQ(test, test_dev.seen[0], 1);
	KUNIT_EXPECT_FALSE(test, test_dev.bad);

	reused = test_event(PAGE_HINT_REUSED);
	test_alloc(test, 1);
	KUNIT_EXPECT_GT(test, test_event(PAGE_HINT_REUSED), reused);
	KUNIT_EXPECT_FALSE(test, PageReported(test_pages[0]));
	test_free(1);
}

/* A block that is used again and again is not hinted until that ends. */
static void hinting_waits_for_age(struct kunit *test)
{
	struct page *page;
	int i;

	hint_min_age_ms = 400;
	test_start_quiet(test);

	for (i = 0; i < 8; i++) {
		page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
		KUNIT_ASSERT_NOT_NULL(test, page);
		test_dev.watched[0] = page_to_pfn(page);
		test_dev.seen[0] = 0;
		__free_pages(page, MAX_PAGE_ORDER);
		msleep(100);
		KUNIT_EXPECT_EQ(test, test_dev.seen[0], 0);
	}
	/* Nor is one that is just that old, whenever it is looked at. */
	hint_min_age_ms = 4000;
	test_stamp(page, jiffies - 9 * HZ / 2);
	msleep(100);
	KUNIT_EXPECT_EQ(test, test_dev.seen[0], 0);
	test_stamp(page, jiffies - 11 * HZ / 2);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(1) == 1));
}

/* With four entries nearly all captures overflow, and nothing is lost. */
static void hinting_overflow_is_lossless(struct kunit *test)
{
	unsigned long overflowed = test_event(PAGE_HINT_OVERFLOWED);

	hint_capture_entries = 4;
	test_start_quiet(test);

	test_alloc(test, TEST_BLOCKS);
	test_free(TEST_BLOCKS);
	KUNIT_EXPECT_GT(test, test_event(PAGE_HINT_OVERFLOWED), overflowed);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(TEST_BLOCKS) == TEST_BLOCKS));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));
	KUNIT_EXPECT_FALSE(test, test_dev.bad);
}

/* What waits in one array stays there while the other is filled. */
static void hinting_fills_the_other_array(struct kunit *test)
{
	hint_capture_entries = 8;
	hint_min_age_ms = 500;
	test_start_quiet(test);

	test_alloc(test, 8);
	test_free(4);
	test_drain();
	msleep(100);
	KUNIT_EXPECT_EQ(test, test_nr_seen(8), 0);
	test_free(8);
	test_drain();
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));
}

/* Every capture ends as exactly one of stale, duplicate or aged. */
static void hinting_accounts_for_all(struct kunit *test)
{
	int i;

	test_start(test);
	for (i = 0; i < 4; i++) {
		test_alloc(test, TEST_BLOCKS);
		test_free(TEST_BLOCKS);
		msleep(30);
	}
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_quiet()));
	msleep(3 * hint_min_age_ms);

	KUNIT_EXPECT_GT(test, test_event(PAGE_HINT_CAPTURED), 0);
	KUNIT_EXPECT_EQ(test, test_pending(), 0);
	KUNIT_EXPECT_EQ(test, test_event(PAGE_HINT_ISOLATED),
			test_event(PAGE_HINT_REPORTED) + test_event(PAGE_HINT_FAILED));
}

/* A device that does not answer holds no more than it may. */
static void hinting_limits_inflight(struct kunit *test)
{
	struct zone *zone;

	hint_max_inflight_pages = 4 * MAX_ORDER_NR_PAGES;
	test_dev.hold = true;
	test_start(test);

	KUNIT_EXPECT_TRUE(test, test_wait_for(test_dev.nr_held));
	msleep(3 * hint_min_age_ms);
	KUNIT_EXPECT_GT(test, atomic_long_read(&hint_inflight), 0);
	KUNIT_EXPECT_LE(test, atomic_long_read(&hint_inflight),
			hint_max_inflight_pages);
	for_each_populated_zone(zone)
		KUNIT_EXPECT_LE(test, hint_zone_of(zone)->in_flight,
				max(zone_managed_pages(zone) / HINT_ZONE_SHARE,
				    MAX_ORDER_NR_PAGES));

	/* Answers make room, and in the end all has been hinted. */
	KUNIT_EXPECT_TRUE(test, test_wait_for((test_answer(0), test_quiet())));
}

/* A device that goes may answer what it has. */
static void hinting_waits_for_answers(struct kunit *test)
{
	test_dev.hold = true;
	test_start(test);
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_dev.nr_held));
	test_dev.hold = false;

	schedule_delayed_work(&test_answer_work, HZ / 2);
	page_hinting_unregister(&test_dev.dev);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&hint_inflight), 0);
	flush_delayed_work(&test_answer_work);
}

/* What a device does not answer comes back when it goes. */
static void hinting_survives_dead_device(struct kunit *test)
{
	unsigned long start = jiffies;

	test_dev.hold = true;
	test_start(test);
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_dev.nr_held));

	page_hinting_unregister(&test_dev.dev);
	KUNIT_EXPECT_LT(test, jiffies - start, 10 * HZ);
	KUNIT_EXPECT_GT(test, atomic_long_read(&hint_inflight), 0);
	KUNIT_EXPECT_EQ(test, page_hinting_register(&test_dev.dev), -EBUSY);

	test_answer(-ECANCELED);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&hint_inflight), 0);
}

/* Threads that find no room wait for it; they do not wake each other. */
static void hinting_waits_for_room(struct kunit *test)
{
	unsigned long switches = 0;
	unsigned int cpu;

	hint_max_inflight_pages = MAX_ORDER_NR_PAGES;
	test_dev.hold = true;
	test_start(test);
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_dev.nr_held));
	/* Each has a look, as it would for captures of its own. */
	for_each_online_cpu(cpu)
		hint_kick(cpu);
	msleep(hint_min_age_ms);

	for_each_online_cpu(cpu)
		switches -= per_cpu(hint_task, cpu)->nvcsw;
	msleep(300);
	for_each_online_cpu(cpu)
		switches += per_cpu(hint_task, cpu)->nvcsw;
	KUNIT_EXPECT_LT(test, switches, 20 * num_online_cpus());
}

/* A zone of which no more may be out does not keep others from being told of. */
static void hinting_passes_capped_zone(struct kunit *test)
{
	struct hint_batch *batch;
	struct page *page;
	struct zone *zone;
	long all;

	test_start(test);
	test_alloc(test, 8);
	page = test_alloc_low(test);
	zone = page_zone(page);
	all = zone_managed_pages(zone);
	KUNIT_ASSERT_TRUE(test, test_wait_for(test_quiet()));

	/* All of it is out, in a batch that does not come back soon. */
	batch = hint_get_batch();
	KUNIT_ASSERT_NOT_NULL(test, batch);
	test_add_in_flight(zone, all);
	WRITE_ONCE(test_dev.watched[8], page_to_pfn(page));
	__free_pages(page, MAX_PAGE_ORDER);
	test_drain();
	test_free_early(test, page);
	test_free(8);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));

	/* A sweep passes it, too. */
	memset(test_dev.seen, 0, sizeof(test_dev.seen));
	hint_sweep_all(true);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));

	/* What waited for that is told then. */
	KUNIT_EXPECT_EQ(test, test_dev.seen[8], 0);
	test_add_in_flight(zone, -all);
	hint_put_batch(batch, true);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_dev.seen[8]));
}

/* What is freed meanwhile does not have a sweep begin again and again. */
static void hinting_sweeps_once(struct kunit *test)
{
	unsigned long isolated, n = global_zone_page_state(NR_FREE_PAGES);
	struct page *page;
	int i;

	test_start_quiet(test);
	isolated = test_event(PAGE_HINT_ISOLATED);
	hint_sweep_all(true);
	for (i = 0; i < 50; i++) {
		page = alloc_pages(GFP_KERNEL, page_hinting_order);
		KUNIT_ASSERT_NOT_NULL(test, page);
		__free_pages(page, page_hinting_order);
		test_drain();
		msleep(TEST_POLL_MS);
	}
	KUNIT_EXPECT_LT(test, test_event(PAGE_HINT_ISOLATED) - isolated, 3 * n / 2);
}

/* What users left where the stamp is does not keep a block from being hinted. */
static void hinting_takes_unstamped(struct kunit *test)
{
	static const unsigned long left[] = { 0, LONG_MAX, ULONG_MAX };
	struct page *page;
	int i;

	test_start(test);
	for (i = 0; i < ARRAY_SIZE(left); i++) {
		KUNIT_ASSERT_TRUE(test, test_wait_for(test_quiet()));
		page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
		KUNIT_ASSERT_NOT_NULL(test, page);
		__free_pages(page, MAX_PAGE_ORDER);
		KUNIT_ASSERT_TRUE(test, test_wait_for(test_quiet()));

		test_dev.seen[0] = 0;
		WRITE_ONCE(test_dev.watched[0], page_to_pfn(page));
		test_stamp(page, left[i] + (i == 1 ? jiffies : 0));
		hint_sweep_all(false);
		KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(1) == 1));
	}
}

/* A device that refuses is not asked again, and its pages are not marked. */
static void hinting_stops_at_failure(struct kunit *test)
{
	unsigned long failed, reported;

	test_start_quiet(test);
	page_hinting_unregister(&test_dev.dev);
	failed = test_event(PAGE_HINT_FAILED);
	reported = test_event(PAGE_HINT_REPORTED);

	test_dev.err = -EIO;
	test_start(test);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_event(PAGE_HINT_FAILED) > failed));
	KUNIT_EXPECT_TRUE(test, test_wait_for(!atomic_long_read(&hint_inflight)));
	KUNIT_EXPECT_EQ(test, test_event(PAGE_HINT_REPORTED), reported);
	KUNIT_EXPECT_FALSE(test, PageReported(test_dev.refused));

	/* It is back to work with the next device. */
	page_hinting_unregister(&test_dev.dev);
	test_dev.err = 0;
	test_start(test);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));
}

/* A new device is told of all that is marked, which is no use of it. */
static void hinting_starts_anew(struct kunit *test)
{
	unsigned long isolated, reused;

	test_start_quiet(test);
	page_hinting_unregister(&test_dev.dev);
	isolated = test_event(PAGE_HINT_ISOLATED);
	reused = test_event(PAGE_HINT_REUSED);

	test_start(test);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_event(PAGE_HINT_ISOLATED) - isolated >=
					      global_zone_page_state(NR_FREE_PAGES) / 2));
	isolated = test_event(PAGE_HINT_ISOLATED) - isolated;
	KUNIT_EXPECT_LT(test, test_event(PAGE_HINT_REUSED) - reused, isolated / 4);
}

/* What is known is not believed of memory that was used while nobody noted it. */
static void hinting_forgets_unnoted(struct kunit *test)
{
	test_start_quiet(test);
	KUNIT_ASSERT_EQ(test, hint_set_wanted(false), 0);
	test_alloc(test, 8);
	test_free(8);
	KUNIT_ASSERT_EQ(test, hint_set_wanted(true), 0);
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));
}

/* Of a block that merges from what the device has and what not, it gets the rest. */
static void hinting_tells_the_rest(struct kunit *test)
{
	struct page *page = test_alloc_halves(test);

	test_dev.hold = true;
	__free_pages(page, TEST_HALF);
	test_drain();
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(1)));

	__free_pages(page + (1 << TEST_HALF), TEST_HALF);
	test_drain();
	test_dev.hold = false;
	test_answer(0);
	KUNIT_EXPECT_FALSE(test, PageReported(page));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_dev.seen[1] == 1));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));
	KUNIT_EXPECT_EQ(test, test_dev.seen[0], 1);
	KUNIT_EXPECT_TRUE(test, PageReported(page));
}

/* The same where it has answered by then. */
static void hinting_keeps_what_is_known(struct kunit *test)
{
	struct page *page = test_alloc_halves(test);

	__free_pages(page, TEST_HALF);
	test_drain();
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_dev.seen[0] == 1));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));

	__free_pages(page + (1 << TEST_HALF), TEST_HALF);
	test_drain();
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_dev.seen[1] == 1));
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_quiet()));
	KUNIT_EXPECT_EQ(test, test_dev.seen[0], 1);
}

/* Where kswapd would wake, the guest needs its memory itself. */
static void hinting_leaves_what_is_scarce(struct kunit *test)
{
	unsigned long marks[MAX_NR_ZONES];
	struct zone *zones = NODE_DATA(first_online_node)->node_zones;
	int i;

	if (num_online_nodes() > 1)
		kunit_skip(test, "there are several nodes");
	test_start_quiet(test);
	test_alloc(test, 8);
	for (i = 0; i < MAX_NR_ZONES; i++) {
		marks[i] = zones[i]._watermark[WMARK_LOW];
		zones[i]._watermark[WMARK_LOW] = zone_managed_pages(&zones[i]);
	}
	test_free(8);
	test_drain();
	msleep(3 * hint_min_age_ms);
	KUNIT_EXPECT_EQ(test, test_nr_seen(8), 0);
	KUNIT_EXPECT_EQ(test, test_pending(), 0);

	for (i = 0; i < MAX_NR_ZONES; i++)
		zones[i]._watermark[WMARK_LOW] = marks[i];
	KUNIT_EXPECT_TRUE(test, test_wait_for(test_nr_seen(8) == 8));
}

/* Nobody relies on the timer of a CPU whose thread is gone. */
static void hinting_waits_for_nobody(struct kunit *test)
{
	struct zone *zone;

	test_start_quiet(test);
	for_each_populated_zone(zone)
		hint_zone_of(zone)->waiter = cpumask_last(cpu_online_mask);

	page_hinting_unregister(&test_dev.dev);
	for_each_populated_zone(zone)
		KUNIT_EXPECT_LT(test, hint_zone_of(zone)->waiter, 0);
}

/*
 * A capture that nests in another gets a place of its own. The hook has its
 * interrupts off and only an NMI gets in; here that is left to interrupts.
 */
static void hinting_nests_captures(struct kunit *test)
{
	unsigned int i, nr[2], pushes;

	pushes = min(hint_capture_entries / 4, 1U << page_hinting_order);
	hint_min_age_ms = 2000;
	test_start_quiet(test);
	test_alloc(test, 2);
	memcpy(test_nested, test_pages, sizeof(test_nested));
	test_nr_nested = 0;

	preempt_disable();
	for (i = 0; i < pushes; i++) {
		irq_work_queue(&test_nest);
		__page_hinting_recheck(test_nested[0] + i, 0);
	}
	nr[0] = test_captured(test_nested[0], pushes);
	nr[1] = test_captured(test_nested[1], pushes);
	preempt_enable();

	KUNIT_EXPECT_GT(test, test_nr_nested, 0);
	KUNIT_EXPECT_EQ(test, nr[0], pushes);
	KUNIT_EXPECT_EQ(test, nr[1], test_nr_nested);
}

/* A block that comes and goes is captured once until the arrays change places. */
static void hinting_captures_once(struct kunit *test)
{
	struct hint_cpu *c = per_cpu_ptr(&hint_cpu, raw_smp_processor_id());
	unsigned int i, n, round;

	test_start_quiet(test);
	test_alloc(test, 1);
	/* In one array, in the other, and in the first again. */
	for (round = 0; round < 3; round++) {
		KUNIT_ASSERT_TRUE(test, test_wait_for(!hint_nr_captured(c)));
		preempt_disable();
		for (i = 0; i < TEST_BLOCKS; i++)
			__page_hinting_recheck(test_pages[0], 0);
		n = test_captured(test_pages[0], 1);
		preempt_enable();
		KUNIT_EXPECT_EQ(test, n, 1);
	}
}

/* A pfn finds the free block it is part of, and nothing in a used one. */
static void hinting_finds_covering_block(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
	unsigned int order;

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_EXPECT_NULL(test, test_find(page, &order));
	__free_pages(page, MAX_PAGE_ORDER);

	KUNIT_EXPECT_PTR_EQ(test, test_find(page, &order), page);
	KUNIT_EXPECT_EQ(test, order, MAX_PAGE_ORDER);
}

static struct kunit_case hinting_test_cases[] = {
	KUNIT_CASE(hinting_reports_once),
	KUNIT_CASE(hinting_waits_for_age),
	KUNIT_CASE(hinting_overflow_is_lossless),
	KUNIT_CASE(hinting_fills_the_other_array),
	KUNIT_CASE(hinting_accounts_for_all),
	KUNIT_CASE(hinting_limits_inflight),
	KUNIT_CASE(hinting_waits_for_answers),
	KUNIT_CASE(hinting_survives_dead_device),
	KUNIT_CASE(hinting_waits_for_room),
	KUNIT_CASE(hinting_passes_capped_zone),
	KUNIT_CASE(hinting_sweeps_once),
	KUNIT_CASE(hinting_takes_unstamped),
	KUNIT_CASE(hinting_stops_at_failure),
	KUNIT_CASE(hinting_starts_anew),
	KUNIT_CASE(hinting_forgets_unnoted),
	KUNIT_CASE(hinting_tells_the_rest),
	KUNIT_CASE(hinting_keeps_what_is_known),
	KUNIT_CASE(hinting_leaves_what_is_scarce),
	KUNIT_CASE(hinting_waits_for_nobody),
	KUNIT_CASE(hinting_nests_captures),
	KUNIT_CASE(hinting_captures_once),
	KUNIT_CASE(hinting_finds_covering_block),
	{}
};

static struct kunit_suite hinting_test_suite = {
	.name = "page_hinting",
	.init = hinting_test_init,
	.exit = hinting_test_exit,
	.test_cases = hinting_test_cases,
};

kunit_test_suite(hinting_test_suite);

MODULE_DESCRIPTION("Tests of page hinting");
MODULE_LICENSE("GPL");
