"""hmdrn: few-shot fine-grained recognition on edge devices.

The names of this package are the public interface; its submodules and the other components are private and
may change. `import hmdrn` loads nothing else: each name is imported on first use.

>>> import hmdrn
>>> birds = hmdrn.load("default")
>>> report = birds.enroll("Sooty Albatross", ["a.jpg", "b.jpg"])
>>> birds.classify("c.jpg").label
'Sooty Albatross'
"""

from __future__ import annotations

TYPE_CHECKING = False  # not of `typing`, whose import would take most of the time of this one
if TYPE_CHECKING:  # for type checkers and editors; at run time the table below is used
    from typing import Any

    from hmdrn.detectors.motion import MotionDetector as MotionDetector
    from hmdrn.detectors.motion import MotionSettings as MotionSettings
    from hmdrn.detectors.onnx_detector import OnnxDetector as OnnxDetector
    from hmdrn.forecasting import forecast as forecast
    from hmdrn.integrations.qdrant.recognizer import PushReport as PushReport
    from hmdrn.integrations.qdrant.recognizer import QdrantRecognizer as QdrantRecognizer
    from hmdrn.loading import load as load
    from hmdrn.model_list import ModelAccuracy as ModelAccuracy
    from hmdrn.model_list import ModelInfo as ModelInfo
    from hmdrn.model_list import list_models as list_models
    from hmdrn.open_set import calibrate_threshold as calibrate_threshold
    from hmdrn.open_set import evaluate_acceptance as evaluate_acceptance
    from hmdrn.visits.changes import VisitChange as VisitChange
    from hmdrn.visits.corrections import Correction as Correction
    from hmdrn.visits.corrections import correct_visits as correct_visits
    from hmdrn.visits.corrections import rename_visits as rename_visits
    from hmdrn.visits.corrections import undo_change as undo_change
    from hmdrn.visits.filter import VisitFilter as VisitFilter
    from hmdrn.visits.inbox import VisitGroup as VisitGroup
    from hmdrn.visits.inbox import group_unknown_visits as group_unknown_visits
    from hmdrn.visits.labeling import CardReport as CardReport
    from hmdrn.visits.labeling import label_card as label_card
    from hmdrn.visits.recorder import VisitRecorder as VisitRecorder
    from hmdrn.visits.store import VisitStore as VisitStore
    from hmdrn.visits.visit import Naming as Naming
    from hmdrn.visits.visit import Visit as Visit
    from hmdrn.visits.visit import VisitClip as VisitClip
    from hmdrn.visits.visit import VisitPicture as VisitPicture
    from hmdrn.watching.frame_classifier import ClassifierProtocol as ClassifierProtocol
    from hmdrn.watching.frames import Detector as Detector
    from hmdrn.watching.frames import Frame as Frame
    from hmdrn.watching.results import Sighting as Sighting
    from hmdrn.watching.results import SourceEvent as SourceEvent
    from hmdrn.watching.results import WatchResult as WatchResult
    from hmdrn.watching.smoothing import SmoothedLabel as SmoothedLabel
    from hmdrn.watching.smoothing import Smoothing as Smoothing
    from hmdrn.watching.status import DiaryStatus as DiaryStatus
    from hmdrn.watching.status import Health as Health
    from hmdrn.watching.status import WatchStatus as WatchStatus
    from hmdrn.watching.status import assess_health as assess_health
    from hmdrn.watching.summary import LatencyHistogram as LatencyHistogram
    from hmdrn.watching.summary import SpeciesCount as SpeciesCount
    from hmdrn.watching.summary import WatchSummary as WatchSummary
    from hmdrn.watching.watch import watch as watch
    from hmdrn.watching.watch_loop import Watch as Watch
    from hmdrn_calibration.open_set.threshold_fit import AcceptanceReport as AcceptanceReport
    from hmdrn_calibration.quantization.pipeline import QuantizationResult as QuantizationResult
    from hmdrn_calibration.quantization.pipeline import quantize_bundle as quantize_bundle
    from hmdrn_export.exporter import export_bundle as export_bundle
    from hmdrn_export.tensorrt.builder import BuildOptions as BuildOptions
    from hmdrn_export.tensorrt.engines import build_engines as build_engines
    from hmdrn_network.checkpoints import Checkpoint as Checkpoint
    from hmdrn_network.checkpoints import ModelCard as ModelCard
    from hmdrn_network.checkpoints import load_checkpoint as load_checkpoint
    from hmdrn_network.checkpoints import save_checkpoint as save_checkpoint
    from hmdrn_network.config import NetworkConfig as NetworkConfig
    from hmdrn_network.hmdrn import HMDRN as HMDRN
    from hmdrn_network.training.config import TrainingConfig as TrainingConfig
    from hmdrn_network.training.data import TrainingData as TrainingData
    from hmdrn_network.training.data import open_training_data as open_training_data
    from hmdrn_network.training.run import train as train
    from hmdrn_runtime.backends.report import BackendReport as BackendReport
    from hmdrn_runtime.bundle.bundle import Bundle as Bundle
    from hmdrn_runtime.bundle.bundle import open_bundle as open_bundle
    from hmdrn_runtime.classification.explanation import Explanation as Explanation
    from hmdrn_runtime.classification.explanation import LevelExplanation as LevelExplanation
    from hmdrn_runtime.classification.prediction import Match as Match
    from hmdrn_runtime.classification.prediction import Prediction as Prediction
    from hmdrn_runtime.datasets.dataset import Dataset as Dataset
    from hmdrn_runtime.datasets.dataset import Photo as Photo
    from hmdrn_runtime.datasets.dataset import open_dataset as open_dataset
    from hmdrn_runtime.enrollment.correction import PhotoCorrection as PhotoCorrection
    from hmdrn_runtime.enrollment.forecast import Estimate as Estimate
    from hmdrn_runtime.enrollment.forecast import Forecast as Forecast
    from hmdrn_runtime.enrollment.forecast import SpeciesForecast as SpeciesForecast
    from hmdrn_runtime.enrollment.report import Confusion as Confusion
    from hmdrn_runtime.enrollment.report import EnrollmentReport as EnrollmentReport
    from hmdrn_runtime.enrollment.report import Neighbor as Neighbor
    from hmdrn_runtime.enrollment.report import PhotoReport as PhotoReport
    from hmdrn_runtime.errors import BackendError as BackendError
    from hmdrn_runtime.errors import BundleError as BundleError
    from hmdrn_runtime.errors import CheckpointError as CheckpointError
    from hmdrn_runtime.errors import DatasetError as DatasetError
    from hmdrn_runtime.errors import EnrollmentError as EnrollmentError
    from hmdrn_runtime.errors import ExportError as ExportError
    from hmdrn_runtime.errors import FrameDroppedError as FrameDroppedError
    from hmdrn_runtime.errors import GalleryError as GalleryError
    from hmdrn_runtime.errors import GraphRefusedError as GraphRefusedError
    from hmdrn_runtime.errors import HmdrnError as HmdrnError
    from hmdrn_runtime.errors import ImageError as ImageError
    from hmdrn_runtime.errors import MissingDependencyError as MissingDependencyError
    from hmdrn_runtime.errors import SourceError as SourceError
    from hmdrn_runtime.errors import TrainingError as TrainingError
    from hmdrn_runtime.errors import VerificationError as VerificationError
    from hmdrn_runtime.errors import WrongEnginesError as WrongEnginesError
    from hmdrn_runtime.evaluation.evaluation import AccuracyDifference as AccuracyDifference
    from hmdrn_runtime.evaluation.evaluation import BundleScorer as BundleScorer
    from hmdrn_runtime.evaluation.evaluation import EpisodeSetting as EpisodeSetting
    from hmdrn_runtime.evaluation.evaluation import Evaluation as Evaluation
    from hmdrn_runtime.evaluation.evaluation import Scorer as Scorer
    from hmdrn_runtime.evaluation.evaluation import compare_accuracy as compare_accuracy
    from hmdrn_runtime.evaluation.evaluation import evaluate as evaluate
    from hmdrn_runtime.gallery.file import edit_gallery as edit_gallery
    from hmdrn_runtime.gallery.file import load_gallery as load_gallery
    from hmdrn_runtime.gallery.file import save_gallery as save_gallery
    from hmdrn_runtime.gallery.gallery import Gallery as Gallery
    from hmdrn_runtime.gallery.photo_record import PhotoRecord as PhotoRecord
    from hmdrn_runtime.gallery.species import Species as Species
    from hmdrn_runtime.gallery.state import MergeReport as MergeReport
    from hmdrn_runtime.images.quality import PreparedPhoto as PreparedPhoto
    from hmdrn_runtime.images.quality import Quality as Quality
    from hmdrn_runtime.live_worker import LiveWorker as LiveWorker
    from hmdrn_runtime.migration import reenroll as reenroll
    from hmdrn_runtime.open_set.threshold import Calibration as Calibration
    from hmdrn_runtime.profiling.profile import ProfileSettings as ProfileSettings
    from hmdrn_runtime.profiling.profile import profile_bundle as profile_bundle
    from hmdrn_runtime.profiling.result import Profile as Profile
    from hmdrn_runtime.recognizer import Recognizer as Recognizer
    from hmdrn_runtime.specimens.drawing import draw_specimens as draw_specimens

    __version__: str

_NAMES_BY_MODULE = {
    "hmdrn.detectors.motion": "MotionDetector MotionSettings",
    "hmdrn.detectors.onnx_detector": "OnnxDetector",
    "hmdrn.forecasting": "forecast",
    "hmdrn.integrations.qdrant.recognizer": "PushReport QdrantRecognizer",
    "hmdrn.loading": "load",
    "hmdrn.model_list": "ModelAccuracy ModelInfo list_models",
    "hmdrn.open_set": "calibrate_threshold evaluate_acceptance",
    "hmdrn.visits.changes": "VisitChange",
    "hmdrn.visits.corrections": "Correction correct_visits rename_visits undo_change",
    "hmdrn.visits.filter": "VisitFilter",
    "hmdrn.visits.inbox": "VisitGroup group_unknown_visits",
    "hmdrn.visits.labeling": "CardReport label_card",
    "hmdrn.visits.recorder": "VisitRecorder",
    "hmdrn.visits.store": "VisitStore",
    "hmdrn.visits.visit": "Naming Visit VisitClip VisitPicture",
    "hmdrn.watching.frame_classifier": "ClassifierProtocol",
    "hmdrn.watching.frames": "Detector Frame",
    "hmdrn.watching.results": "Sighting SourceEvent WatchResult",
    "hmdrn.watching.smoothing": "SmoothedLabel Smoothing",
    "hmdrn.watching.status": "DiaryStatus Health WatchStatus assess_health",
    "hmdrn.watching.summary": "LatencyHistogram SpeciesCount WatchSummary",
    "hmdrn.watching.watch": "watch",
    "hmdrn.watching.watch_loop": "Watch",
    "hmdrn_calibration.open_set.threshold_fit": "AcceptanceReport",
    "hmdrn_calibration.quantization.pipeline": "QuantizationResult quantize_bundle",
    "hmdrn_export.exporter": "export_bundle",
    "hmdrn_export.tensorrt.builder": "BuildOptions",
    "hmdrn_export.tensorrt.engines": "build_engines",
    "hmdrn_network.checkpoints": "Checkpoint ModelCard load_checkpoint save_checkpoint",
    "hmdrn_network.config": "NetworkConfig",
    "hmdrn_network.hmdrn": "HMDRN",
    "hmdrn_network.training.config": "TrainingConfig",
    "hmdrn_network.training.data": "TrainingData open_training_data",
    "hmdrn_network.training.run": "train",
    "hmdrn_runtime.backends.report": "BackendReport",
    "hmdrn_runtime.bundle.bundle": "Bundle open_bundle",
    "hmdrn_runtime.datasets.dataset": "Dataset Photo open_dataset",
    "hmdrn_runtime.enrollment.correction": "PhotoCorrection",
    "hmdrn_runtime.enrollment.forecast": "Estimate Forecast SpeciesForecast",
    "hmdrn_runtime.enrollment.report": "Confusion EnrollmentReport Neighbor PhotoReport",
    "hmdrn_runtime.errors": (
        "BackendError BundleError CheckpointError DatasetError EnrollmentError ExportError "
        "FrameDroppedError GalleryError GraphRefusedError HmdrnError ImageError MissingDependencyError "
        "SourceError TrainingError VerificationError WrongEnginesError"
    ),
    "hmdrn_runtime.evaluation.evaluation": (
        "AccuracyDifference BundleScorer EpisodeSetting Evaluation Scorer compare_accuracy evaluate"
    ),
    "hmdrn_runtime.classification.explanation": "Explanation LevelExplanation",
    "hmdrn_runtime.gallery.file": "edit_gallery load_gallery save_gallery",
    "hmdrn_runtime.gallery.gallery": "Gallery",
    "hmdrn_runtime.gallery.photo_record": "PhotoRecord",
    "hmdrn_runtime.gallery.species": "Species",
    "hmdrn_runtime.gallery.state": "MergeReport",
    "hmdrn_runtime.images.quality": "PreparedPhoto Quality",
    "hmdrn_runtime.live_worker": "LiveWorker",
    "hmdrn_runtime.migration": "reenroll",
    "hmdrn_runtime.open_set.threshold": "Calibration",
    "hmdrn_runtime.classification.prediction": "Match Prediction",
    "hmdrn_runtime.profiling.profile": "ProfileSettings profile_bundle",
    "hmdrn_runtime.profiling.result": "Profile",
    "hmdrn_runtime.recognizer": "Recognizer",
    "hmdrn_runtime.specimens.drawing": "draw_specimens",
}
"""The public names by the module that defines them, separated by blanks."""
_MODULES = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names.split()}

if not TYPE_CHECKING:
    __all__ = sorted([*_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hmdrn")
    if name not in _MODULES:
        raise AttributeError(f"module 'hmdrn' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*_MODULES, "__version__"])
