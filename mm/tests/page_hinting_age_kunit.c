// SPDX-License-Identifier: GPL-2.0
/*
 * Tests of the age that blocks have to reach before they are hinted, on a zone
 * of their own. Time goes by as the past is moved back.
 */
#include <kunit/test.h>

#include "../page_hinting.h"

#define TEST_AGE_MS	40
#define TEST_MANY	100

static unsigned int test_saved_age_ms;
static unsigned long test_age;

static struct hint_zone *test_zone(struct kunit *test)
{
	struct hint_zone *hz = kunit_kzalloc(test, sizeof(*hz), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, hz);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
	return hz;
}

/* Many blocks come into use that were free for so long. */
static void test_use(struct hint_zone *hz, unsigned long age, bool marked)
{
	int i;

	for (i = 0; i < TEST_MANY; i++)
		hint_note_use(hz, jiffies - age, marked);
}

static void test_pass(struct hint_zone *hz, unsigned long time)
{
	int i;

	for (i = 0; i < HINT_AGES; i++)
		hz->used[i].since -= time;
	hz->hinted.since -= time;
	hz->hinted_since -= time;
}

/* An age at which blocks come into use is too short. */
static void age_outlasts_pauses(struct kunit *test)
{
	struct hint_zone *hz = test_zone(test);

	test_use(hz, test_age * 5 / 4, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 2 * test_age);
	test_use(hz, 5 * test_age, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 8 * test_age);
	test_use(hz, 3 * HZ / 2, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 2 * HZ);
}

/* What is used at once would not be hinted, and after a while it may be. */
static void age_leaves_out_others(struct kunit *test)
{
	struct hint_zone *hz = test_zone(test);

	test_use(hz, 0, false);
	test_use(hz, 2 * HZ, false);
	test_use(hz, ULONG_MAX / 2, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);

	/* Nor does it matter when it is a block now and then. */
	hint_note_use(hz, jiffies - 5 * test_age, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
}

/* It is back in some two of the pauses, and the longest are let go last. */
static void age_forgets(struct kunit *test)
{
	struct hint_zone *hz = test_zone(test);

	test_use(hz, test_age * 5 / 4, false);
	test_use(hz, 5 * test_age, false);
	test_pass(hz, 4 * test_age);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 8 * test_age);
	test_pass(hz, 8 * test_age);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
	test_use(hz, test_age * 5 / 4, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 2 * test_age);
	test_pass(hz, LONG_MAX);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
}

/* A block that the host had stands for the one hinted last, if there was one. */
static void age_counts_hints_back(struct kunit *test)
{
	struct hint_zone *hz = test_zone(test);
	int i;

	test_use(hz, 5 * test_age, true);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);

	hint_note_hint(hz, 0, jiffies - 5 * test_age);
	test_use(hz, LONG_MAX, true);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);

	for (i = 0; i < TEST_MANY; i++)
		hint_note_hint(hz, 0, jiffies - 5 * test_age);
	test_use(hz, LONG_MAX, true);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 8 * test_age);
	KUNIT_EXPECT_EQ(test, hz->hinted.n, 0);

	/* One that was hinted long ago is none of them. */
	test_pass(hz, 10 * HZ);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
	for (i = 0; i < TEST_MANY; i++)
		hint_note_hint(hz, 0, jiffies);
	test_pass(hz, 10 * HZ);
	test_use(hz, LONG_MAX, true);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), test_age);
}

/* Without an age to begin with there is none to double, nor beyond the longest. */
static void age_keeps_to_limits(struct kunit *test)
{
	struct hint_zone *hz = test_zone(test);

	hint_min_age_ms = 0;
	test_use(hz, HZ, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 0);
	hint_min_age_ms = 5000;
	test_use(hz, 6 * HZ, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 5 * HZ);
	hint_min_age_ms = 1;
	test_use(hz, 2 * HZ - 1, false);
	KUNIT_EXPECT_EQ(test, hint_zone_age(hz), 2 * HZ);
}

/* Whose neighbour was used and freed has been free for no less time. */
static void age_keeps_time_of_neighbours(struct kunit *test)
{
	unsigned long unit = 1UL << page_hinting_order, now = jiffies;
	struct page *page;

	if (page_hinting_order == MAX_PAGE_ORDER)
		kunit_skip(test, "blocks have no parts");
	page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, page);
	page[0].free_since = now - HZ;
	page[unit].free_since = 0;
	hint_stamp(page, MAX_PAGE_ORDER);
	KUNIT_EXPECT_EQ(test, page[0].free_since, now - HZ);
	KUNIT_EXPECT_TRUE(test, time_after_eq(page[unit].free_since, now));
	/* The block is as old as its youngest part. */
	KUNIT_EXPECT_LT(test, hint_age(page, MAX_PAGE_ORDER, jiffies), HZ);
	__free_pages(page, MAX_PAGE_ORDER);
}

static int age_test_init(struct kunit *test)
{
	test_saved_age_ms = hint_min_age_ms;
	hint_min_age_ms = TEST_AGE_MS;
	test_age = hint_min_age();
	return 0;
}

static void age_test_exit(struct kunit *test)
{
	hint_min_age_ms = test_saved_age_ms;
}

static struct kunit_case age_test_cases[] = {
	KUNIT_CASE(age_outlasts_pauses),
	KUNIT_CASE(age_leaves_out_others),
	KUNIT_CASE(age_forgets),
	KUNIT_CASE(age_counts_hints_back),
	KUNIT_CASE(age_keeps_to_limits),
	KUNIT_CASE(age_keeps_time_of_neighbours),
	{}
};

static struct kunit_suite age_test_suite = {
	.name = "page_hinting_age",
	.init = age_test_init,
	.exit = age_test_exit,
	.test_cases = age_test_cases,
};

kunit_test_suite(age_test_suite);

MODULE_DESCRIPTION("Tests of the age of page hints");
MODULE_LICENSE("GPL");
