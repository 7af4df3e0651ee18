//! Draws plots as SVG: cost against descriptors, and throughput and latency against connections.

use std::error::Error;

use plotters::coord::combinators::BindKeyPoints;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use crate::kinds;
use crate::report::Results;
use crate::work::Work;

/// The size of a plot.
const SIZE: (u32, u32) = (960, 560);
/// The width of the curves. The legend has the rest.
const CURVES: u32 = 800;
/// The fonts of titles, axis names and numbers.
const TITLE: (&str, u32) = ("sans-serif", 20);
const NAMES: (&str, u32) = ("sans-serif", 16);
const NUMBERS: (&str, u32) = ("sans-serif", 13);

/// The colour of the curve of each subject: blue for ours, black and grey for the limits, other colours for
/// the peers.
const COLOURS: [(&str, RGBColor); 25] = [
    ("epoll", RGBColor(0, 70, 200)),
    ("epoll-lt", RGBColor(60, 140, 240)),
    ("poll", RGBColor(120, 180, 250)),
    ("select", RGBColor(170, 200, 230)),
    ("uring", RGBColor(30, 20, 120)),
    ("raw", RGBColor(0, 0, 0)),
    ("ring", RGBColor(100, 100, 100)),
    ("ring-sends", RGBColor(165, 165, 165)),
    ("mio", RGBColor(230, 120, 0)),
    ("polling", RGBColor(240, 130, 190)),
    ("async-io", RGBColor(190, 160, 0)),
    ("calloop", RGBColor(120, 80, 30)),
    ("tokio", RGBColor(220, 30, 30)),
    ("monoio", RGBColor(0, 170, 170)),
    ("monoio-uring", RGBColor(90, 90, 140)),
    ("libevent", RGBColor(0, 140, 60)),
    ("libev", RGBColor(120, 200, 60)),
    ("libuv", RGBColor(150, 40, 170)),
    ("reactor", RGBColor(10, 60, 210)),
    ("reactors", RGBColor(100, 160, 240)),
    ("iterative", RGBColor(40, 40, 40)),
    ("fork", RGBColor(200, 20, 20)),
    ("prefork", RGBColor(240, 140, 140)),
    ("thread", RGBColor(10, 130, 50)),
    ("pool", RGBColor(130, 210, 90)),
];

/// A plot of one figure of all subjects, against a number.
struct Plot<'a> {
    title: &'a str,
    across: &'a str,
    up: &'a str,
    metric: &'a str,
    /// Whether the vertical axis is logarithmic.
    is_logarithmic: bool,
    /// Returns the horizontal position of a work, if the work belongs to this plot.
    number: fn(&Work) -> Option<usize>,
}

/// The points of one subject's curve.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

fn watched(work: &Work) -> Option<usize> {
    (work.kind == &kinds::DISPATCH).then_some(work.count)
}

fn connections(work: &Work) -> Option<usize> {
    (*work == Work::new(&kinds::ECHO, work.count)).then_some(work.count)
}

fn connections_at_depth(work: &Work) -> Option<usize> {
    (*work == Work::new(&kinds::ECHO, work.count).depth(16)).then_some(work.count)
}

fn connections_of_models(work: &Work) -> Option<usize> {
    (work.kind == &kinds::MODELS).then_some(work.count)
}

const ECHO: &str = "Echo, 64 bytes, one message under way on each connection";
const ECHO_DEPTH: &str = "Echo, 64 bytes, 16 messages under way on each connection";

const fn echo_plot(metric: &'static str, up: &'static str, is_logarithmic: bool) -> Plot<'static> {
    Plot {
        title: ECHO,
        across: "connections (log)",
        up,
        metric,
        is_logarithmic,
        number: connections,
    }
}

/// Returns the plots that have figures, with their file names.
///
/// # Errors
/// Fails if one cannot be drawn.
pub fn all(
    results: &Results<'_>,
) -> Result<Vec<(&'static str, String)>, Box<dyn Error + Send + Sync>> {
    let dispatch = Plot {
        title: "Dispatch: the cost of an event, 100 active",
        across: "descriptors watched (log)",
        up: "ns of processor time for each event (log)",
        metric: "ns_per_event",
        is_logarithmic: true,
        number: watched,
    };
    let cpu = "ns of server time for each message (log)";
    let depth = Plot {
        title: ECHO_DEPTH,
        number: connections_at_depth,
        ..echo_plot("server_ns", cpu, true)
    };
    let model = |metric, up, is_logarithmic| Plot {
        title: "Models: echo, 64 bytes, one message under way on each connection",
        number: connections_of_models,
        ..echo_plot(metric, up, is_logarithmic)
    };
    let plots = [
        ("models-cpu.svg", model("server_ns", cpu, true)),
        ("models-throughput.svg", model("per_second", "messages a second", false)),
        ("models-memory.svg", model("kib", "KiB for each connection (log)", true)),
        ("dispatch.svg", dispatch),
        ("echo-cpu.svg", echo_plot("server_ns", cpu, true)),
        ("echo-cpu-depth-16.svg", depth),
        ("echo-throughput.svg", echo_plot("per_second", "messages a second", false)),
        ("echo-p99.svg", echo_plot("p99_us", "p99 latency in us (log)", true)),
    ];
    let mut drawn = Vec::new();
    for (name, plot) in plots {
        let curves = plot.curves(results);
        // A single point is not a curve.
        if curves.iter().any(|curve| curve.points.len() > 1) {
            let svg = plot.draw(&curves).map_err(|error| format!("{name}: {error}"))?;
            drawn.push((name, svg));
        }
    }
    Ok(drawn)
}

impl Plot<'_> {
    fn curves(&self, results: &Results<'_>) -> Vec<Curve> {
        let works = results.works();
        let curve = |name: &'static str| {
            let points = works.iter().filter_map(|work| {
                let number = (self.number)(work)? as f64;
                let figure = results.summary(work, name, self.metric)?.median;
                // On a busy machine a figure may be zero, which has no place on this axis.
                (figure.is_finite() && figure > 0.0).then_some((number, figure))
            });
            Curve { name, points: points.collect() }
        };
        let curves = COLOURS.into_iter().map(|(name, _)| curve(name));
        curves.filter(|curve| !curve.points.is_empty()).collect()
    }

    fn draw(&self, curves: &[Curve]) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE)?;
            let (left, right) = root.split_horizontally(CURVES);
            let points = || curves.iter().flat_map(|curve| curve.points.iter());
            let bounds = |of: fn(&(f64, f64)) -> f64| {
                points()
                    .map(of)
                    .fold((f64::INFINITY, 0.0_f64), |(min, max), it| (min.min(it), max.max(it)))
            };
            let (across, up) = (bounds(|it| it.0), bounds(|it| it.1));
            let mut builder = ChartBuilder::on(&left);
            builder.caption(self.title, TITLE).margin(12);
            builder.x_label_area_size(52).y_label_area_size(92);
            // Only measured numbers are marked. The space beyond them is for the last label.
            let mut measured: Vec<f64> = points().map(|it| it.0).collect();
            measured.sort_by(f64::total_cmp);
            measured.dedup();
            let across = (across.0..across.1 * 1.1).log_scale().with_key_points(measured);
            if self.is_logarithmic {
                let (from, to) = (up.0 * 0.9, up.1 * 1.1);
                let up = (from..to).log_scale().with_key_points(marks(from, to));
                self.draw_curves(builder.build_cartesian_2d(across, up)?, curves)?;
            } else {
                let up = 0.0..up.1 * 1.1;
                self.draw_curves(builder.build_cartesian_2d(across, up)?, curves)?;
            }
            draw_legend(&right, curves)?;
            root.present()?;
        }
        Ok(svg)
    }

    fn draw_curves<'b, X, Y>(
        &self,
        mut chart: ChartContext<'b, SVGBackend<'b>, Cartesian2d<X, Y>>,
        curves: &[Curve],
    ) -> Result<(), Box<dyn Error>>
    where
        X: Ranged<ValueType = f64> + ValueFormatter<f64>,
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let number = |value: &f64| format!("{value:.0}");
        chart
            .configure_mesh()
            .x_desc(self.across)
            .y_desc(self.up)
            .axis_desc_style(NAMES)
            .label_style(NUMBERS)
            .x_label_formatter(&number)
            .y_label_formatter(&number)
            .light_line_style(WHITE)
            .draw()?;
        // Our curve is the first. It is drawn last, so that no other curve covers it.
        for curve in curves.iter().rev() {
            let style = colour(curve.name).stroke_width(width(curve.name));
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style).point_size(3))?;
        }
        Ok(())
    }
}

/// Returns the marks of a logarithmic axis, whose ends are positive and different: several round
/// numbers. plotters marks only powers of ten and their even parts: nothing from 2,500 to 4,500.
fn marks(from: f64, to: f64) -> Vec<f64> {
    let in_powers = |factors: &[f64]| -> Vec<f64> {
        let powers = from.log10().floor() as i32..=to.log10().ceil() as i32;
        let all = powers.flat_map(|power| factors.iter().map(move |it| it * 10_f64.powi(power)));
        all.filter(|it| (from..=to).contains(it)).collect()
    };
    let few = in_powers(&[1.0, 2.0, 5.0]);
    if few.len() >= 4 {
        return few;
    }
    // Equal steps of a round size, four to ten of them.
    let size = 10_f64.powf(((to - from) / 4.0).log10().floor());
    let step = [5.0, 2.0, 1.0].map(|it| it * size).into_iter().find(|it| (to - from) / it >= 4.0);
    let step = step.unwrap_or(size);
    let (first, last) = ((from / step).ceil() as u64, (to / step).floor() as u64);
    (first..=last).map(|it| it as f64 * step).collect()
}

fn colour(name: &str) -> RGBColor {
    COLOURS.iter().find(|(known, _)| *known == name).map_or(BLACK, |(_, colour)| *colour)
}

/// Returns the width of a curve. The main subjects have thick curves.
fn width(name: &str) -> u32 {
    if ["epoll", "raw", "reactor"].contains(&name) { 3 } else { 1 }
}

fn draw_legend(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    curves: &[Curve],
) -> Result<(), Box<dyn Error>> {
    for (place, curve) in curves.iter().enumerate() {
        let y = 60 + i32::try_from(place)? * 24;
        let style = colour(curve.name).stroke_width(width(curve.name).max(2));
        area.draw(&PathElement::new([(8, y), (36, y)], style))?;
        area.draw(&Text::new(curve.name, (44, y - 8), NAMES))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::run::Sample;
    use crate::subject;

    fn results(samples: &[Sample]) -> Results<'_> {
        Results::new(samples, Machine::of("", 2, "9.9"))
    }

    /// Returns a sample of our processor time for a message, with this number of connections.
    fn cost(connections: usize, value: f64) -> Sample {
        let work = Work::new(&kinds::ECHO, connections);
        Sample { work, subject: "epoll", round: 0, metric: "server_ns".to_owned(), value }
    }

    #[test]
    fn works_without_measurements_are_left_out_of_a_plot() {
        let samples = [cost(1, 0.0), cost(50, 2900.0), cost(1000, 3400.0)];
        let drawn = all(&results(&samples)).expect("it can be drawn");
        assert_eq!(drawn.len(), 1);
        let (name, svg) = &drawn[0];
        assert_eq!(*name, "echo-cpu.svg");
        let points = svg.matches("<circle").count();
        assert_eq!(points, 2, "{svg}");
        // Neither has a curve: there is one number or none.
        for samples in [&samples[..2], &samples[..1]] {
            assert_eq!(all(&results(samples)).expect("there is nothing to draw"), []);
        }
    }

    #[test]
    fn an_axis_of_any_length_has_several_marks() {
        for (from, to) in [(2500.0, 4500.0), (430.0, 1800.0), (90.0, 110.0), (1.9e3, 2.2e5)] {
            let found = marks(from, to);
            assert!((4..=11).contains(&found.len()), "{from} to {to}: {found:?}");
            assert!(found.is_sorted_by(|one, next| one < next), "{from} to {to}: {found:?}");
            assert!(found.iter().all(|it| (from..=to).contains(it)), "{from} to {to}: {found:?}");
        }
        assert_eq!(marks(2500.0, 4500.0), [2500.0, 3000.0, 3500.0, 4000.0, 4500.0]);
    }

    #[test]
    fn each_plotted_subject_has_its_own_colour() {
        let echo = Work::new(&kinds::ECHO, 50);
        for subject in subject::ALL.iter().filter(|it| it.does(&echo)) {
            let found = COLOURS.iter().filter(|(name, _)| *name == subject.name).count();
            assert_eq!(found, 1, "{} has no curve, or two", subject.name);
            let of_it = colour(subject.name);
            let alike = COLOURS.iter().filter(|(_, colour)| *colour == of_it).count();
            assert_eq!(alike, 1, "{} looks like another", subject.name);
        }
    }
}
