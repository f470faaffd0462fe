"""A Pipecat bot with a face that says what you say, in your own voice: python examples/pipecat_bot.py -t webrtc

Needs `pip install 'visavis[pipecat]' 'pipecat-ai[webrtc,runner]'` and no account; then open http://localhost:7860.
For a bot that thinks, put speech-to-text, a language model and text-to-speech in the place of Parrot.
"""

from typing import Any

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from streaming.integrations.pipecat import VisavisVideoService

BEFORE, MOST = 20, 1500  # packets of 20 ms: from before the voice was noticed, and at most


class Parrot(FrameProcessor):
    """Repeats what it heard when the speaker pauses, and is quiet when the speaker begins again."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: list[InputAudioRawFrame] = []
        self._listens = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """One frame."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._heard.append(frame)
            self._heard = self._heard[-MOST if self._listens else -BEFORE :]
        elif isinstance(frame, VADUserStartedSpeakingFrame):
            self._listens = True
            await self.broadcast_interruption()
        elif isinstance(frame, VADUserStoppedSpeakingFrame) and self._listens:
            self._listens, heard, self._heard = False, self._heard, []
            await self.push_frame(TTSStartedFrame("parrot"))
            for piece in heard:
                await self.push_frame(TTSAudioRawFrame(piece.audio, piece.sample_rate, piece.num_channels, "parrot"))
            await self.push_frame(TTSStoppedFrame("parrot"))


def transport_params() -> TransportParams:
    """Pictures as large as the avatar's, shown when the voice before them was sent."""
    return TransportParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_out_end_silence_secs=0,
        video_out_enabled=True,
        video_out_width=512,
        video_out_height=512,
        video_out_framerate=30,
    )


def make_worker(transport: BaseTransport, engine: Any = None) -> PipelineWorker:
    """The bot, as a pipeline to be run."""
    return PipelineWorker(
        Pipeline(
            [
                transport.input(),
                VADProcessor(vad_analyzer=SileroVADAnalyzer()),
                Parrot(),
                VisavisVideoService(engine=engine),
                transport.output(),
            ]
        ),
        params=PipelineParams(enable_metrics=True, audio_out_sample_rate=48_000),
        enable_rtvi=False,
    )


async def bot(runner_args: Any) -> None:
    """One conversation; Pipecat's runner calls this."""
    from pipecat.runner.utils import create_transport

    transport = await create_transport(runner_args, {"webrtc": transport_params})
    worker = make_worker(transport)

    @transport.event_handler("on_client_disconnected")
    async def leave(*_: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)
    await runner.run()


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
