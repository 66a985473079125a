//! The suite of `Channel` passes a channel that keeps the contract, and finds each violation.

use std::{sync::Arc, time::Duration};

use konstruct_core::{
    Channel, ConversationRef, SystemClock,
    channel::Find,
    testkit::{
        BrokenChannel, CHANNEL_CASES, ChannelFlaw, ChannelSubject, Displayed, ScriptedChannel,
        World, channel_case, channel_suite,
    },
};

const FINDS: [Find; 3] = [Find::Query, Find::Event, Find::None];

fn scripted(world: &World, find: Find, timeout: Duration, shows: bool) -> ScriptedChannel {
    ScriptedChannel::new(world.clone(), Arc::new(SystemClock), find).with(|can| {
        can.max_text = 100;
        can.progress = shows;
        can.read_receipts = shows;
        can.request_timeout = timeout;
    })
}

fn subject(world: World, provider: ScriptedChannel, channel: impl Channel) -> ChannelSubject {
    let files = provider.clone();
    let displayed = move || {
        let arrived = world.arrived().into_iter();
        arrived
            .map(|message| {
                let choices = message.choices.into_iter();
                let choices = choices.flat_map(|choices| choices.options);
                Displayed::new(message.text)
                    .with_choices(choices.map(|choice| choice.label))
                    .with_key(message.key)
                    .with_message(message.message)
            })
            .collect()
    };
    ChannelSubject::new(channel, ConversationRef::direct("P1"), displayed)
        .failing(move |failure| {
            provider.fail(failure);
            true
        })
        .with_media(move |bytes| files.put_media(bytes))
}

fn broken(flaw: ChannelFlaw, find: Find, timeout: Duration, shows: bool) -> ChannelSubject {
    let world = World::default();
    let provider = scripted(&world, find, timeout, shows);
    let channel = BrokenChannel::new(provider.clone(), flaw);
    subject(world, provider, channel)
}

#[tokio::test(start_paused = true)]
async fn the_scripted_channel_passes() {
    for find in FINDS {
        for shows in [false, true] {
            channel_suite(async |timeout| {
                let world = World::default();
                let channel = scripted(&world, find, timeout, shows);
                subject(world, channel.clone(), Arc::new(channel))
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_without_a_flaw_passes() {
    channel_suite(async |timeout| broken(ChannelFlaw::Nothing, Find::Query, timeout, true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_about_which_nothing_else_is_known_passes() {
    channel_suite(async |timeout| {
        let world = World::default();
        let channel = scripted(&world, Find::None, timeout, false);
        let displayed = move || {
            let arrived = world.arrived().into_iter();
            let seen = arrived.map(|message| {
                let labels = message.choices.iter().flat_map(|choices| &choices.options);
                let labels = labels.map(|choice| choice.label.clone());
                Displayed::new(message.text).with_choices(labels)
            });
            seen.collect()
        };
        ChannelSubject::new(channel, ConversationRef::direct("P1"), displayed)
    })
    .await;
}

/// The flaws, each with the case that is for it.
const FLAWS: &[(ChannelFlaw, &str)] = &[
    (ChannelFlaw::RendersAtRandom, "rendering_is_pure"),
    (ChannelFlaw::MakesTooManyParts, "parts_are_few_and_whole"),
    (ChannelFlaw::MakesBlankParts, "parts_are_few_and_whole"),
    (ChannelFlaw::LosesTheRest, "parts_are_few_and_whole"),
    (ChannelFlaw::RepeatsWords, "parts_are_few_and_whole"),
    (ChannelFlaw::ReordersParts, "parts_are_few_and_whole"),
    (
        ChannelFlaw::KeepsTheRest,
        "the_rest_is_rendered_until_nothing_is_left",
    ),
    (
        ChannelFlaw::OffersTwice,
        "the_first_part_quotes_and_the_last_offers",
    ),
    (
        ChannelFlaw::QuotesLast,
        "the_first_part_quotes_and_the_last_offers",
    ),
    (ChannelFlaw::SendsTwice, "a_send_arrives_once"),
    (ChannelFlaw::NamesNoMessage, "a_send_arrives_once"),
    (ChannelFlaw::Overlong, "what_arrives_fits_and_is_whole"),
    (ChannelFlaw::CutsMessages, "what_arrives_fits_and_is_whole"),
    (ChannelFlaw::CutsGraphemes, "graphemes_are_not_cut"),
    (ChannelFlaw::HidesChoices, "choices_are_shown"),
    (ChannelFlaw::CutsKeys, "keys_arrive_whole"),
    (ChannelFlaw::MixesKeys, "sends_do_not_mix"),
    (ChannelFlaw::DropsConcurrentSends, "sends_do_not_mix"),
    (
        ChannelFlaw::DropsConcurrentSends,
        "a_cancelled_send_harms_nothing",
    ),
    (
        ChannelFlaw::DeliversTheRefused,
        "a_refusal_delivers_nothing",
    ),
    (
        ChannelFlaw::DeliversTheRefused,
        "a_refused_place_is_forbidden",
    ),
    (
        ChannelFlaw::MistakesCredentials,
        "refused_credentials_are_unauthorized",
    ),
    (
        ChannelFlaw::MistakesThePlace,
        "a_refused_place_is_forbidden",
    ),
    (ChannelFlaw::ForgetsTheWait, "a_rate_limit_carries_its_wait"),
    (ChannelFlaw::Repeats, "a_broken_connection_is_not_a_refusal"),
    (ChannelFlaw::Repeats, "a_lost_answer_is_ambiguous"),
    (ChannelFlaw::PromisesTooMuch, "a_lost_answer_is_ambiguous"),
    (ChannelFlaw::WaitsForEver, "silence_ends_in_time"),
    (
        ChannelFlaw::FindsAnything,
        "find_agrees_with_its_capability",
    ),
    (ChannelFlaw::FindsNothing, "what_arrived_is_found"),
    (
        ChannelFlaw::FindsNothing,
        "a_send_without_an_answer_is_found",
    ),
    (
        ChannelFlaw::HidesFailedLookups,
        "a_failed_lookup_is_an_error",
    ),
    (ChannelFlaw::WaitsForEver, "a_silent_lookup_ends_in_time"),
    (ChannelFlaw::InsistsOnShowing, "progress_is_best_effort"),
    (ChannelFlaw::ShowsByMessage, "progress_is_best_effort"),
    (
        ChannelFlaw::InsistsOnShowing,
        "read_receipts_are_best_effort",
    ),
    (ChannelFlaw::FetchesAnySize, "media_keep_to_the_limit"),
    (ChannelFlaw::TrustsFiles, "a_wrong_digest_is_refused"),
    (ChannelFlaw::InventsFiles, "unknown_media_are_an_error"),
];

async fn fails(flaw: ChannelFlaw, case: &str, find: Find, shows: bool) -> bool {
    let make = async |timeout| broken(flaw, find, timeout, shows);
    channel_case(case, &make).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_found_by_the_case_that_is_for_it() {
    for (flaw, case) in FLAWS {
        assert!(
            fails(*flaw, case, Find::Query, true).await,
            "{flaw:?} passes {case}"
        );
    }
    for case in CHANNEL_CASES {
        let found = FLAWS.iter().any(|(_, found)| found == case);
        assert!(found, "no flaw shows that {case} can fail");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_capabilities_do_not_name_is_unsupported() {
    for (flaw, case) in [
        (ChannelFlaw::ClaimsToShow, "progress_is_best_effort"),
        (ChannelFlaw::ClaimsToShow, "read_receipts_are_best_effort"),
        (
            ChannelFlaw::HidesFailedLookups,
            "find_agrees_with_its_capability",
        ),
    ] {
        assert!(
            fails(flaw, case, Find::Event, false).await,
            "{flaw:?} passes {case}"
        );
        assert!(!fails(ChannelFlaw::Nothing, case, Find::Event, false).await);
    }
}
