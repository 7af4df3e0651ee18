//! Tests the judges of queues and of channels.

use benches::storm::channels::{self, Channels, Message};
use benches::storm::lists::{End, Fault, Queues, Rest};
use testkit::Random;

fn got(at: u64, element: &str) -> End {
    End::Got { at, key: b"q".into(), element: element.into() }
}

/// Pushes at these times, the second of which is 0 if the push was lost.
fn queues(pushes: &[(&str, u64, u64)], pops: &[(u64, End)]) -> Queues {
    let mut queues = Queues::ordered();
    for (element, from, to) in pushes {
        let push = queues.push(1, "q", *element, *from);
        if *to > 0 {
            queues.pushed(push, *to);
        }
    }
    for (at, end) in pops {
        let pop = queues.pop(2, vec![b"q".into(), b"r".into()], *at);
        queues.end(pop, end.clone());
    }
    queues
}

fn rest(elements: &[&str]) -> Rest {
    Rest::from([(b"q".to_vec(), elements.iter().map(|it| it.as_bytes().to_vec()).collect())])
}

#[test]
fn each_element_is_popped_once_or_is_left() {
    let pushes = [("a", 1, 2), ("b", 3, 4), ("c", 5, 0)];
    let judge = |pops: &[(u64, End)], left: &[&str]| queues(&pushes, pops).check(&rest(left));
    assert_eq!(judge(&[(0, got(3, "a"))], &["b"]), Ok(()));
    assert_eq!(judge(&[(0, got(3, "a")), (0, got(5, "b"))], &["c"]), Ok(()));
    assert_eq!(judge(&[(0, got(3, "a")), (0, got(5, "b")), (6, End::Waiting)], &[]), Ok(()));
    assert_eq!(judge(&[(0, got(3, "a")), (0, End::Lost)], &[]), Ok(()));
    assert!(matches!(judge(&[(0, got(3, "a"))], &[]), Err(Fault::Missing(_))));
    let twice = [(0, got(3, "a")), (0, got(5, "a"))];
    assert!(matches!(judge(&twice, &["b"]), Err(Fault::Twice(_))));
    assert!(matches!(judge(&[(0, got(3, "a"))], &["a", "b"]), Err(Fault::Twice(_))));
    assert!(matches!(judge(&[], &["a", "a", "b"]), Err(Fault::Twice(_))));
    assert!(matches!(judge(&[(0, got(3, "x"))], &["a", "b"]), Err(Fault::Strange(_))));
    assert!(matches!(judge(&[(0, got(2, "b"))], &["a"]), Err(Fault::Strange(_))));
    let twins = queues(&[("a", 1, 2), ("a", 3, 4)], &[]).check(&rest(&["a"]));
    assert!(matches!(twins, Err(Fault::Ambiguous(_))));
}

#[test]
fn a_lost_client_explains_one_element_of_its_lists() {
    let mut queues = Queues::new();
    for (element, key) in [("a", "q"), ("b", "r")] {
        let push = queues.push(1, key, element, 1);
        queues.pushed(push, 2);
    }
    let lose = |queues: &mut Queues, keys: &[&str]| {
        let pop = queues.pop(2, keys.iter().map(|key| key.as_bytes().to_vec()).collect(), 0);
        queues.end(pop, End::Lost);
    };
    lose(&mut queues, &["q", "r"]);
    assert!(matches!(queues.check(&Rest::new()), Err(Fault::Missing(_))));
    let mut wrong = queues.clone();
    lose(&mut wrong, &["s"]);
    assert!(matches!(wrong.check(&Rest::new()), Err(Fault::Missing(_))));
    // The first one takes "a" first, and has to leave it to the second.
    lose(&mut queues, &["q"]);
    assert_eq!(queues.check(&Rest::new()), Ok(()));
}

#[test]
fn clients_that_wait_get_what_is_there() {
    let pushes = [("a", 1, 2)];
    let judge = |pops: &[(u64, End)], left: &[&str]| queues(&pushes, pops).check(&rest(left));
    assert!(matches!(judge(&[(0, End::Waiting)], &["a"]), Err(Fault::Stuck(_))));
    let nothing = |from, to| (from, End::Nothing { at: to });
    assert!(matches!(judge(&[nothing(3, 9)], &["a"]), Err(Fault::Overlooked(_))));
    assert!(matches!(judge(&[nothing(3, 9), (10, got(11, "a"))], &[]), Err(Fault::Overlooked(_))));
    assert_eq!(judge(&[nothing(3, 9), (8, got(11, "a"))], &[]), Ok(()));
    assert_eq!(judge(&[nothing(1, 9)], &["a"]), Ok(()));
}

#[test]
fn elements_are_popped_in_the_order_of_their_pushes() {
    let pushes = [("a", 1, 2), ("b", 3, 4)];
    let judge = |pops: &[(u64, End)], left: &[&str]| queues(&pushes, pops).check(&rest(left));
    assert_eq!(judge(&[(5, got(7, "b")), (6, got(8, "a"))], &[]), Ok(()));
    assert!(matches!(judge(&[(5, got(7, "b")), (8, got(9, "a"))], &[]), Err(Fault::Disordered(_))));
    assert!(matches!(judge(&[(5, got(7, "b"))], &["a"]), Err(Fault::Disordered(_))));
    let together = queues(&[("a", 1, 4), ("b", 3, 4)], &[(5, got(7, "b"))]);
    assert_eq!(together.check(&rest(&["a"])), Ok(()));
}

/// Two publishers of five messages each, at 10, 20 ... and 15, 25 ..., and a subscriber that
/// receives the numbers, those of the second publisher as negative ones.
fn channel(received: &[i64], end: impl Fn(&mut Channels, usize)) -> Result<(), channels::Fault> {
    channel_of(&[received], end)
}

fn channel_of(all: &[&[i64]], end: impl Fn(&mut Channels, usize)) -> Result<(), channels::Fault> {
    let mut channels = Channels::new();
    for received in all {
        let subscription = channels.subscribe(3, "c", 0);
        channels.confirmed(subscription, 5);
        for number in *received {
            let publisher = if *number > 0 { 1 } else { 2 };
            let message = Message { publisher, number: number.unsigned_abs() - 1 };
            channels.received(subscription, message, 100);
        }
        end(&mut channels, subscription);
    }
    for number in 0..5 {
        for publisher in [1, 2] {
            let at = 10 + number * 10 + (publisher - 1) * 5;
            let message = channels.publish(publisher, "c", at);
            channels.published(b"c", message, all.len() as u64, at + 7);
        }
    }
    channels.check()
}

#[test]
fn a_subscriber_receives_all_messages_of_each_publisher_in_order() {
    let open = |_: &mut Channels, _| {};
    let whole = [1, -1, 2, -2, 3, -3, 4, -4, 5, -5];
    assert_eq!(channel(&whole, open), Ok(()));
    assert_eq!(channel(&[-1, 1, 2, -2, 3, -3, 4, -4, 5, -5], open), Ok(()));
    let gap = [1, -1, 2, -2, -3, 4, -4, 5, -5];
    assert!(matches!(channel(&gap, open), Err(channels::Fault::Gap(_))));
    assert!(matches!(channel(&whole[..9], open), Err(channels::Fault::Gap(_))));
    assert!(matches!(channel(&whole[1..], open), Err(channels::Fault::Gap(_))));
    assert!(matches!(channel(&[], open), Err(channels::Fault::Gap(_))));
    let again = [1, -1, 2, -2, 2, -3, 3, 4, -4, 5, -5];
    assert!(matches!(channel(&again, open), Err(channels::Fault::Disordered(_))));
    // The third of one was published before the fourth of the other was requested.
    let late = [1, -1, 2, -2, -3, -4, 3, 4, 5, -5];
    assert!(matches!(channel(&late, open), Err(channels::Fault::Disordered(_))));
    let unknown = [1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6];
    assert!(matches!(channel(&unknown, open), Err(channels::Fault::Strange(_))));
    // A subscriber that left or was lost may miss the end, and nothing before it.
    let lost = |channels: &mut Channels, subscription| channels.lost(subscription);
    assert_eq!(channel(&whole[..4], lost), Ok(()));
    assert_eq!(channel(&[], lost), Ok(()));
    assert!(matches!(channel(&whole[2..6], lost), Err(channels::Fault::Gap(_))));
    let left = |channels: &mut Channels, subscription| channels.left(subscription, 35);
    assert_eq!(channel(&whole[..4], left), Ok(()));
    assert!(matches!(channel(&whole[..3], left), Err(channels::Fault::Gap(_))));
}

#[test]
fn subscribers_agree_about_the_order() {
    let open = |_: &mut Channels, _| {};
    let one = [1, -1, 2, -2, 3, -3, 4, -4, 5, -5];
    let other = [-1, 1, 2, -2, 3, -3, 4, -4, 5, -5];
    assert_eq!(channel_of(&[&other, &other], open), Ok(()));
    let verdict = channel_of(&[&one, &other], open);
    assert!(matches!(verdict, Err(channels::Fault::Contradiction(_))), "{verdict:?}");
}

#[test]
fn publishers_learn_how_many_receive_a_message() {
    for (receivers, is_accepted) in [(0, false), (1, true), (2, true), (3, false)] {
        let mut channels = Channels::new();
        let sure = channels.subscribe(1, "c", 0);
        channels.confirmed(sure, 5);
        channels.subscribe(2, "c", 11);
        let message = channels.publish(3, "c", 10);
        channels.published(b"c", message, receivers, 20);
        channels.received(sure, message, 15);
        let verdict = channels.check();
        assert_eq!(verdict.is_ok(), is_accepted, "{receivers}: {verdict:?}");
    }
}

#[test]
fn random_queues_without_faults_are_accepted_and_changed_ones_are_not() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (mut queues, mut list, mut popped) = (Queues::ordered(), Vec::new(), Vec::new());
        for number in 0..60_u64 {
            let at = number * 10;
            if random.one_in(2) || list.is_empty() {
                let push = queues.push(number, "q", number.to_string(), at);
                queues.pushed(push, at + 1 + random.below(9));
                list.push(number.to_string());
            } else {
                let pop = queues.pop(number, vec![b"q".into()], at);
                let element = list.remove(0);
                let end = if random.one_in(9) { End::Lost } else { got(at + 9, &element) };
                popped.extend((end != End::Lost).then_some(element));
                queues.end(pop, end);
            }
        }
        let left: Vec<&str> = list.iter().map(String::as_str).collect();
        assert_eq!(queues.check(&rest(&left)), Ok(()), "seed {seed}");
        if let Some(element) = popped.first() {
            let mut twice = left.clone();
            twice.push(element);
            assert!(matches!(queues.check(&rest(&twice)), Err(Fault::Twice(_))), "seed {seed}");
        }
    }
}
